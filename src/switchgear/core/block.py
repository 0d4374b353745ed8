"""Blocks: statements under a policy's gates and timeout, entered and left by `async with`.

A block is one attempt: nothing can run it twice, and nothing can answer in its place. So the
gates, the timeout and the deadline of the policy hold, and its retry, hedge, fallback and
coalescing do not.
"""

from asyncio import CancelledError
from contextvars import Token
from typing import Any, Final

from switchgear.core.ambient import ambient, deadline, due
from switchgear.core.attempt import code_of
from switchgear.core.drivers import Work, working
from switchgear.core.kit import Kit
from switchgear.core.observe import AttemptEnded, CallEnded, Overran
from switchgear.core.permits import Held, let_in, settle
from switchgear.core.sweep import Alarm
from switchgear.core.tally import Tally
from switchgear.core.timeout import GRACE, Cut, Timeout, expired, overdue
from switchgear.policy.budget import RetryBudget
from switchgear.policy.fault import Fault
from switchgear.policy.gate import Ask, Gate, Permit
from switchgear.policy.verdict import GOOD, judge

__all__ = ["Blocks"]

_CALM: Final = 5  # the priority of a block outside any call


class _Block:
    """One block under way."""

    __slots__ = ("at", "cut", "driver", "held", "limit", "slot", "token")

    def __init__(self, driver: Work, at: float, limit: float) -> None:
        self.driver = driver
        self.at = at
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

    async def enter(self) -> None:
        """Pass the gates, and arm the timeout. Raises a `Fault` where one of them refuses."""
        kit, timeout = self._kit, self._timeout
        now = kit.clock()
        full = deadline() if timeout is None else min(deadline(), now + timeout.full)
        block = _Block(working(), now, full)
        self._budget.deposit(now)
        try:
            await self._admit(block, full)
            if timeout is not None:
                self._arm(block, timeout)
        except BaseException as error:
            settle(block.held, judge(error), kit.clock())
            raise
        self._open.setdefault(block.driver, []).append(block)

    def leave(self, error: BaseException | None) -> None:
        """Give the permits back. Raises a `Fault` where the time of the block was over."""
        block = self._taken(error)
        if block.token is not None:
            try:
                due.reset(block.token)
            except ValueError:
                pass  # thrown away by another Context, which never saw that value
        failure = error
        cut, timeout = block.cut, self._timeout
        if cut is not None:
            block.slot.discard(cut)
            if cut.rings:
                cut.off()
                if cut.enforced and timeout is not None:
                    failure = self._late(error, cut, timeout, block)
        verdict = GOOD if failure is None else judge(failure)
        now = self._kit.clock()
        settle(block.held, verdict, now)
        self._tally.count(verdict)
        code = "" if failure is None else code_of(failure)
        self._kit.tell(AttemptEnded(self._kit.name, 1, verdict, now - block.at))
        self._kit.tell(CallEnded(self._kit.name, 1, verdict, now - block.at, code))
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
        if driver not in self._open and isinstance(error, GeneratorExit):
            driver = next(iter(self._open), None)
        if driver is None or driver not in self._open:
            raise RuntimeError(
                f"a block of policy {self._kit.name!r} is left by another task than entered it"
            )
        blocks = self._open[driver]
        block = blocks.pop()
        if not blocks:
            del self._open[driver]
        return block

    def _late(
        self, error: BaseException | None, cut: Cut, timeout: Timeout, block: _Block
    ) -> BaseException | None:
        """Say what a block raises whose time was over."""
        fault = overdue(self._kit.name, timeout, block.limit - block.at, repeatable=False)
        ours = error is None or (isinstance(error, Exception) and not isinstance(error, Fault))
        return fault if cut.alone() and (ours or isinstance(error, CancelledError)) else error

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
