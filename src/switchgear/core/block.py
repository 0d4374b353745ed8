"""Blocks: statements under a policy's gates and timeout, entered and left by `async with`.

A block is one attempt: nothing can run it twice, and nothing can answer in its place. So the
gates, the timeout and the deadline of the policy hold, and its retry, hedge, fallback and
coalescing do not.
"""

from asyncio import CancelledError, Task
from contextvars import Token
from math import inf
from typing import Any, Final
from weakref import WeakMethod

from switchgear.core.ambient import ambient, deadline, due
from switchgear.core.attempt import code_of, meaning, translated
from switchgear.core.cut import GRACE, Cut
from switchgear.core.drivers import Work, working
from switchgear.core.kit import Kit
from switchgear.core.observe import AttemptEnded, CallEnded, Overran
from switchgear.core.permits import Held, let_in, refresh
from switchgear.core.sweep import Alarm
from switchgear.core.tally import Tally
from switchgear.core.threads import lingering
from switchgear.core.timeout import Timeout, expired, overdue
from switchgear.core.zombies import bring_home
from switchgear.policy.budget import RetryBudget
from switchgear.policy.fault import Fault
from switchgear.policy.gate import Ask, Gate, Permit
from switchgear.policy.verdict import GOOD, Verdict, judge

__all__ = ["Blocks"]

_CALM: Final = 5  # the priority of a block outside any call


class _Block:
    """One block under way."""

    __slots__ = ("at", "begun", "cut", "driver", "held", "limit", "slot", "token")

    def __init__(self, driver: Work, at: float, limit: float) -> None:
        self.driver = driver
        self.begun = at
        self.at = at  # of its end of the queue
        self.limit = limit
        self.held: Held = None
        self.cut: Cut | None = None
        self.slot: set[Alarm] = set()
        self.token: Token[float | None] | None = None


class Blocks:
    """The blocks of one policy that are under way, by the task that entered them.

    Blocks of one policy may stand inside each other in a task; each task has its own.
    """

    def __init__(
        self,
        kit: Kit,
        tally: Tally,
        gates: tuple[Gate, ...],
        timeout: Timeout | None,
        budget: RetryBudget,
    ) -> None:
        self._kit = kit
        self._tally = tally
        self._gates = gates
        self._timeout = timeout
        self._budget = budget
        self._open: dict[Work, list[_Block]] = {}
        self._forsaken = 0  # blocks that were ended for their loop's sake, and not left yet
        kit.moving = WeakMethod(self._move)

    async def enter(self) -> None:
        """Pass the gates, and arm the timeout. Raises a `Fault` where one of them refuses."""
        kit, timeout = self._kit, self._timeout
        kit.desk()  # which sees that it can work here
        now = kit.clock()
        full = deadline() if timeout is None else min(deadline(), now + timeout.full)
        block = _Block(working(), now, full)
        self._budget.deposit(now)
        try:
            await self._admit(block, full)
            if timeout is not None:
                self._arm(block, timeout)
        except BaseException as error:
            self._over(block, judge(error), error)
            raise
        self._open.setdefault(block.driver, []).append(block)

    def leave(self, error: BaseException | None) -> None:
        """Give the permits back. Raises a `Fault` where the time of the block was over."""
        if self._forsaken and isinstance(error, GeneratorExit):
            self._forsaken -= 1
            return
        block = self._taken(error)
        if block.token is not None:
            try:
                due.reset(block.token)
            except ValueError:
                pass  # thrown away by another Context, which never saw that value
        try:
            failure, verdict = self._meaning(error, block)
        except Exception as defect:  # noqa: BLE001 - raised from here, it would keep the permits
            failure, verdict = defect, judge(defect)
        self._over(block, verdict, failure)
        if failure is not None and failure is not error:
            raise failure from (None if isinstance(error, CancelledError) else error)

    # -- on the way in

    async def _admit(self, block: _Block, until: float) -> None:
        kit, outer = self._kit, ambient.get()
        ask = Ask("", 1, _CALM if outer is None else outer.priority, until)
        for gate in self._gates:
            got: Any = gate.admit(ask, block.at)
            if got.__class__ is not Permit:
                got = await let_in(kit, gate, got)
                block.at = kit.clock()
                refresh(block.held, block.at)
            block.held = (gate, got, block.held)

    def _arm(self, block: _Block, timeout: Timeout) -> None:
        if timeout.enforce:
            if block.limit <= block.at:
                raise expired(self._kit.name, block.limit - block.at)
            block.token = due.set(block.limit)
        driver = block.driver
        sweep = self._kit.sweep(driver.get_loop())
        block.cut = Cut(self, driver, block.limit, driver.cancelling(), by_hand=False)
        block.slot = sweep.arm(block.limit, block.cut)

    # -- on the way out

    def _taken(self, error: BaseException | None) -> _Block:
        """Return the block that is being left: the task's latest.

        Where a coroutine is thrown away, whoever does so runs its end, and is not who entered.
        """
        driver: Work | None
        try:
            driver = working()
        except RuntimeError:
            driver = None
        if driver not in self._open:
            driver = self._lost(thrown_away=isinstance(error, GeneratorExit))
        if driver is None:
            raise RuntimeError(
                f"a block of policy {self._kit.name!r} is left by another task than entered it"
            )
        blocks = self._open[driver]
        block = blocks.pop()
        if not blocks:
            del self._open[driver]
        return block

    def _lost(self, *, thrown_away: bool) -> Work | None:
        """Find whose block it is that somebody else leaves: of a task that has ended, if any has.

        (A generator may be entered by one task and run on by another.)
        """
        ended = (one for one in self._open if isinstance(one, Task) and one.done())
        return next(ended, next(iter(self._open), None) if thrown_away else None)

    def _meaning(
        self, error: BaseException | None, block: _Block
    ) -> tuple[BaseException | None, Verdict]:
        """Say what a block raises that ends by `error`, and what that means.

        Where its time was over, that is what it means, as it is for an attempt.
        """
        cut, timeout = block.cut, self._timeout
        if cut is not None:
            block.slot.discard(cut)
            if cut.rings:
                cut.off()
        if cut is None or timeout is None or not cut.rings or not cut.enforced:
            failure = error if error is None else translated(self._kit.translate, error)
            inner = block.limit if timeout is not None and timeout.enforce else inf
            around = due.get()  # that of the block is gone already
            return failure, GOOD if failure is None else meaning(
                failure, self._kit.name, block.begun, inner, inf if around is None else around
            )
        allowed = block.limit - block.at
        fault = overdue(self._kit.name, timeout, allowed, allowed, repeatable=False)
        ours = error is None or (isinstance(error, Exception) and not isinstance(error, Fault))
        late = cut.alone() and (ours or isinstance(error, CancelledError))
        return fault if late else error, judge(fault)

    def _move(self) -> None:
        """End the blocks of loops that were closed amid them: nobody leaves those in time."""
        for driver in [one for one in self._open if one.get_loop().is_closed()]:
            for block in reversed(self._open.pop(driver)):
                self._forsaken += 1
                failure, verdict = self._meaning(CancelledError(), block)
                self._over(block, verdict, failure)

    def _over(self, block: _Block, verdict: Verdict, failure: BaseException | None) -> None:
        """Give the permits back, and tell how it ended."""
        kit = self._kit
        now = kit.clock()
        left = None if failure is None else lingering(failure, kit.clock, block.begun)
        bring_home(kit, self._tally, block.held, verdict, now, left=left)
        self._tally.count(verdict)
        code = "" if failure is None else code_of(failure)
        kit.tell(AttemptEnded(kit.name, 1, verdict, now - block.at))
        kit.tell(CallEnded(kit.name, 1, verdict, now - block.begun, code))

    # -- what its alarms tell

    @property
    def enforces(self) -> bool:
        """Whether blocks are called off when their time is over."""
        return self._timeout is not None and self._timeout.enforce

    def rang(self, cut: Cut) -> set[Alarm] | None:
        """Call a block off; where it goes on, it is a zombie."""
        if cut.rings == 1 and self.enforces:
            cut.work.cancel()
            return self._kit.sweep(cut.work.get_loop()).arm(cut.limit + GRACE, cut)
        self._tally.zombies += 1
        self._tally.overran += 1
        self._kit.tell(Overran(self._kit.name, self._kit.clock() - cut.limit, self.enforces))
        return None

    def ended(self, cut: Cut) -> None:
        """Take a cancellation back, and a zombie out of the count."""
        if self.enforces:
            cut.work.uncancel()
        if cut.slot is None:
            self._tally.zombies -= 1
