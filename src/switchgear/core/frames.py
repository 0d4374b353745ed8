"""Frames: the coroutines that a stack is compiled to. The order of parts is `stack.py`'s affair.

One frame holds what stands together, outermost first, and any of it may be missing::

    outer gates -> retry -> [ gates -> timeout -> work ]     in brackets: one attempt

A permit comes home when the work has really ended: at return, or at a streamed answer's end.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from threading import get_ident
from typing import Any, Final, NamedTuple, TypeVar

from msgspec.structs import replace

from switchgear.core.ambient import ambient, due
from switchgear.core.attempt import Attempt
from switchgear.core.cut import GRACE, Cut, Cuts
from switchgear.core.drivers import task_on, working
from switchgear.core.endings import judged, streams
from switchgear.core.handler import Handler
from switchgear.core.kit import NOWHERE, Kit
from switchgear.core.observe import AttemptEnded, CallEnded, Event, Overran, report
from switchgear.core.permits import Held, admit, refusing, settle
from switchgear.core.retry import Retry
from switchgear.core.sweep import Alarm
from switchgear.core.tally import Tally
from switchgear.core.timeout import Timeout, expired
from switchgear.policy.breaker import Breaker
from switchgear.policy.budget import RetryBudget
from switchgear.policy.bulkhead import Bulkhead
from switchgear.policy.call import Call
from switchgear.policy.gate import Ask, Gate, Permit
from switchgear.policy.hurry import Hurry
from switchgear.policy.verdict import GOOD, NEUTRAL, worse

__all__ = ["Frame", "Kit", "Retry", "Terms", "Timeout"]

Kind = TypeVar("Kind")

_NONE: Final[Mapping[str, Any]] = {}
LONG: Final = 0.001  # seconds: of calls up to that, one in 128 is noted, as so many
SHORT: Final = 127  # the bits that are 0 in the number of that one
_get_due: Final = due.get
_set_due: Final = due.set
_reset_due: Final = due.reset


def _taken(gates: list[Gate], place: int, kind: type[Kind]) -> Kind | None:
    """Take the first or last gate out, if it is of that kind."""
    if gates and type(gates[place]) is kind:
        gate: Any = gates.pop(place)
        found: Kind = gate
        return found
    return None


class Terms(NamedTuple):
    """What holds where only a function is given: its `full` seconds, if any; if it may repeat."""

    full: float | None
    repeatable: bool


class Frame:
    """A handler behind gates, a timeout and a retry; `run` is the handler that it makes.

    `outer` gates stand outside the retry and count whole calls. `tells`: this frame is the one to
    tell how attempts ended; how calls did is told by the one that retries, and by one with
    `terms`, which can also be run with a function instead of a call.
    """

    __slots__ = ("_between", "_handler", "_judge", "_limit", "_name", "_outer", "_passes_on",
                 "_share", "breaker", "budget", "bulkhead", "clock", "cuts", "desk", "ends",
                 "full", "hurry", "is_policy", "kit", "observe", "plain", "repeatable", "retry",
                 "tally", "tells", "timeout")  # fmt: skip

    def __init__(
        self,
        kit: Kit,
        handler: Handler[Any, Any],
        *,
        timeout: Timeout | None = None,
        gates: Sequence[Gate] = (),
        retry: Retry | None = None,
        outer: Sequence[Gate] = (),
        tells: bool = True,
        terms: Terms | None = None,
    ) -> None:
        self.kit = kit
        self.retry = retry
        self.timeout = timeout
        self.tells = tells and kit.observe is not None
        self.tally = Tally()
        self.desk = NOWHERE
        self.plain: type | None = None  # of the last answer that did not stream
        self.cuts = Cuts()
        self._handler = handler
        self._outer = tuple(outer)
        # The gates that nearly every frame has are passed by hand, as long as they let it.
        between = list(gates)
        self.hurry, self.breaker = _taken(between, 0, Hurry), _taken(between, 0, Breaker)
        self.bulkhead = _taken(between, -1, Bulkhead)
        self._between = tuple(between)
        # What follows is said elsewhere, too: every call looks at it, and a look costs 4 ns.
        self._name, self.clock = kit.name, kit.clock
        self._judge, self.observe = kit.judge, kit.observe
        budget = None if retry is None else retry.budget
        self.budget = budget if type(budget) is RetryBudget else None
        self._limit, self._share = (0.0, 0.0) if timeout is None else (timeout.limit, timeout.share)
        full, self.repeatable = (None, False) if terms is None else terms
        self.full = inf if full is None else full
        # Whether the function is to know of its deadline: one that is only observed is not felt.
        self._passes_on = (timeout is None and full is not None) or self.enforces
        self.ends = retry is not None or terms is not None
        self.is_policy = terms is not None

    async def run(
        self,
        call: Call[Any] | None,
        function: Callable[..., Awaitable[Any]] | None = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = _NONE,
        attempt: Attempt | None = None,
    ) -> Any:
        """Make one attempt (the first, or the one given), and hand over to itself for another.

        The work is the handler's, of the call; or the function's, with its arguments, and then
        there is no call: nothing of it is needed but the deadline.

        It is long, because a coroutine of its own for the retry, the gates and the timeout would
        cost 0.1 us each, a gate that is asked and told as much, and half of that again to hand
        permits about. What every call does stands here, what seldom happens is called.
        (`bench/policy` and `bench/ground` hold the figures.)
        """
        clock, timeout = self.clock, self.timeout
        hurry, breaker, bulkhead = self.hurry, self.breaker, self.bulkhead
        work: Any = call
        now = clock()
        if call is not None:
            until = call.deadline
            repeatable = call.repeatable
        elif attempt is not None:
            until = attempt.until
            repeatable = self.repeatable
        else:
            until = now + self.full
            repeatable = self.repeatable
            earliest, outermost = _get_due(), ambient.get()
            if earliest is not None and earliest < until:
                until = earliest
            if outermost is not None and outermost.deadline < until:  # it may have come later
                until = outermost.deadline
        limit = until  # of this attempt
        begun, tries = now, 1
        held: Held = None
        epoch = -1  # the generation of the breaker that was passed by hand
        inside = False  # the bulkhead, by hand
        cut: Cut | None = None
        try:
            if attempt is not None:
                begun, tries, held = attempt.begun, attempt.tries + 1, attempt.whole
            else:
                if self._outer:
                    tries = 0
                    held, now = await self._admit(self._outer, work, until, None, now)
                    tries = 1
                    attempt = Attempt(self, begun, until, held, repeatable=repeatable)
                if self.retry is not None:
                    budget = self.budget
                    if budget is not None and now < budget.edge:
                        budget.fresh += 1
                    else:
                        self.retry.budget.deposit(now)
                    if call is not None:
                        call.trail.attempts, call.trail.begun = 1, now
                if hurry is not None and until - now < hurry.usual:
                    late = hurry.refuses(until - now, now)
                    if late is not None:
                        raise refusing(self.kit, hurry, late)
            asked = self._between
            if breaker is not None:
                if breaker.freely:
                    breaker.admitted += 1
                    epoch = breaker.generation
                else:
                    asked = (breaker, *asked)
            if asked:
                held, now = await self._admit(asked, work, until, held, now)
            if bulkhead is not None:
                if bulkhead.entered < bulkhead.most and not bulkhead.queued:
                    bulkhead.entered += 1
                    inside = True
                else:
                    self.desk.let_go()
                    held, now = await self._admit((bulkhead,), work, until, held, now)
            if timeout is not None and (until != inf or (repeatable and self._limit != inf)):
                if until <= now and timeout.enforce:
                    raise expired(self._name, until - now)
                if repeatable:
                    allowed = (until - now) * self._share
                    if hurry is not None and allowed < hurry.usual:
                        allowed = until - now  # half of it would not do
                    if allowed > self._limit:
                        allowed = self._limit
                    if now + allowed < until:
                        limit = now + allowed
                desk = self.desk
                driver: Any = None
                if desk.place.thread == get_ident():
                    driver = desk.place.stepper
                    if driver is None:
                        driver = task_on(desk.loop)
                    elif desk.loop is None or not desk.loop.is_running():
                        driver = None
                if driver is None:  # another thread, or another loop
                    desk = self.kit.desk(lodging=tries > 1)
                    self.desk = desk if tries == 1 else self.desk  # a lodger's is not the frame's
                    driver = working()
                cut = self.cuts.take(self, desk.sweep, driver, limit, by_hand=inside)
            elif self.is_policy:
                self.kit.desk(lodging=tries > 1)  # which sees that it can work here
            if function is None:
                if limit != until or tries > 1:
                    work = replace(work, deadline=limit, attempt=work.attempt + tries - 1)
                answer = await self._handler(work)
            elif self._passes_on and limit != inf:
                token = _set_due(limit)
                try:
                    answer = await (function(*args, **kwargs) if kwargs else function(*args))
                finally:
                    try:
                        _reset_due(token)
                    except ValueError:
                        pass  # thrown away by another Context, which never saw that value
            else:
                answer = await function(*args, **kwargs)
            verdict = GOOD if self._judge is None else judged(self._judge, answer)
        except BaseException as error:
            if cut is not None:
                cut.disarm()
                if cut.rings:
                    cut.off()
            if attempt is None:
                attempt = Attempt(self, begun, until, None, repeatable=repeatable)
            held = self.named(held, epoch, now, limit, inside=inside)
            attempt.take(held, now, limit, tries, call)
            failure = attempt.lost(error, cut)
            if failure is error:
                failure = None  # it holds its traceback, and that one this frame
                raise
            if failure is not None:
                try:
                    raise failure from failure.__cause__
                finally:
                    failure = None  # as above
            answer = None
        else:
            in_time = True
            if cut is not None:
                if cut.rings:
                    cut.off()
                    in_time = not cut.enforced
                if self.kit.policy and not self.is_policy and not cut.alone():
                    verdict = worse(verdict, NEUTRAL)  # a hedge called it off, and it has lost
                if not cut.rings:
                    self.cuts.give(cut)
            if (
                verdict is GOOD
                and in_time
                and (type(answer) is self.plain or not self.streams(answer))
            ):
                end = clock()
                if epoch >= 0 and breaker is not None:
                    if (
                        epoch == breaker.generation
                        and end < breaker.edge
                        and end - now <= breaker.slow_after
                    ):
                        breaker.fresh += 1
                    else:
                        held = self.named(held, epoch, now, limit, inside=inside)
                        inside = False
                if inside and bulkhead is not None:
                    if bulkhead.queued:
                        held = (bulkhead, bulkhead.named(now, limit), held)
                    else:
                        bulkhead.most += 1
                if held is not None:
                    settle(held, verdict, end)
                tally = self.tally
                tally.good += 1
                if hurry is not None:
                    if end - now > LONG:
                        hurry.observe(end - now, end)
                    elif not tally.good & SHORT:
                        hurry.observe(end - now, end, SHORT + 1)
                if self.observe is not None:
                    number = tries if call is None else call.attempt + tries - 1
                    self.tell(number, tries, end - now, end - begun)
                return answer
            if attempt is None:
                attempt = Attempt(self, begun, until, None, repeatable=repeatable)
            held = self.named(held, epoch, now, limit, inside=inside)
            attempt.take(held, now, limit, tries, call)
            if attempt.won(answer, verdict, in_time=in_time):
                return answer
        following = await attempt.rest(answer)
        if call is not None:
            call.trail.attempts = tries + 1
        return await self.run(call, function, args, kwargs, following)

    async def _admit(
        self, gates: Sequence[Gate], call: Call[Any] | None, until: float, held: Held, now: float
    ) -> tuple[Held, float]:
        """Pass gates that have to be asked, outermost first; return permits and the instant."""
        who = ambient.get() if call is None else call
        # An ambient call's key is that of what called, which is nobody's business here.
        key = "" if call is None else call.key
        ask = Ask(deadline=until) if who is None else Ask(key, 1, who.priority, until)
        return await admit(self.kit, gates, ask, held, now)

    def streams(self, answer: object) -> bool:
        """Say whether an answer streams; remember its type where it does not."""
        if streams(answer):
            return True
        self.plain = type(answer)
        return False

    def named(self, held: Held, epoch: int, at: float, limit: float, *, inside: bool) -> Held:
        """Make permits of what was passed by hand, for an ending that is not plainly good."""
        if epoch >= 0 and self.breaker is not None:
            held = (self.breaker, Permit(at, epoch), held)
        if inside and self.bulkhead is not None:
            held = (self.bulkhead, self.bulkhead.named(at, limit), held)
        return held

    @property
    def simple(self) -> bool:
        """Whether it is a policy's whole stack, with no gates but those that are passed by hand."""
        return self.is_policy and not self._outer and not self._between

    # -- what its alarms tell

    @property
    def enforces(self) -> bool:
        """Whether its timeout calls work off."""
        return self.timeout is not None and self.timeout.enforce

    def rang(self, cut: Cut) -> set[Alarm] | None:
        """Call work off whose time is over; where it goes on, it is a zombie."""
        if cut.rings == 1 and self.enforces:
            cut.work.cancel()
            return self.kit.sweep(cut.work.get_loop()).arm(cut.limit + GRACE, cut)
        tally = self.tally
        tally.zombies += 1
        tally.overran += 1
        if cut.by_hand and self.bulkhead is not None:
            self.bulkhead.overrun += 1
        after = self.clock() - cut.limit
        self.kit.tell(Overran(self._name, after, self.enforces))
        return None

    def ended(self, cut: Cut) -> None:
        """Take a cancellation back, and a zombie out of the count: the work has ended."""
        if self.enforces:
            cut.work.uncancel()
        if cut.slot is None:
            self.tally.zombies -= 1
            if cut.by_hand and self.bulkhead is not None:
                self.bulkhead.overrun -= 1

    # -- what it tells

    def tell(self, number: int, tries: int, took: float, in_all: float) -> None:
        """Tell of an attempt, and its call, that went well.

        As `Kit.tell` does it, without its call: an observer's defect is not the call's.
        """
        observe: Any = self.observe
        if self.tells:
            event: Event = AttemptEnded(self._name, number, GOOD, took)
            try:
                observe(event)
            except Exception as error:  # noqa: BLE001 - see above
                report(event, error)
        if self.ends:
            event = CallEnded(self._name, tries, GOOD, in_all)
            try:
                observe(event)
            except Exception as error:  # noqa: BLE001 - see above
                report(event, error)
