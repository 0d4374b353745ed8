"""Contradictions: settings that are each in range and cannot mean together what they say."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf
from typing import Final

import msgspec

from switchgear.policy.adaptive import AdaptiveSettings
from switchgear.policy.backoff import BackoffSettings
from switchgear.policy.breaker_settings import BreakerSettings
from switchgear.policy.budget import BudgetSettings
from switchgear.policy.bulkhead import BulkheadSettings
from switchgear.policy.hedge import HedgeSettings

__all__ = ["Finding", "Plan", "lint", "lint_nested"]

_USUAL: Final = 1.0  # seconds: the timeout where none is given
_RETRY: Final = BackoffSettings()  # where nobody has said how often
LEAST: Final = 0.25  # an attempt that gets a smaller share of its timeout than this is none


class Finding(msgspec.Struct, frozen=True):
    """One contradiction: the `setting` that cannot mean what it says, and why, in a sentence."""

    setting: str
    why: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.why}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one policy before its first call. Durations are in seconds.

    `share` of what remains is the most that one attempt of a `repeatable` call gets. `limit` is the
    rate at which calls are let in at most, `rate` the one at which they are expected; None is
    not known. `limited` says whether there is a rate limit at all, `keyed` whether calls have keys.
    """

    name: str
    deadline: float
    timeout: float
    share: float = 0.5
    repeatable: bool = False
    retry: BackoffSettings | None = None
    budget: BudgetSettings = BudgetSettings()
    hedge: HedgeSettings | None = None
    breaker: BreakerSettings | None = None
    adaptive: AdaptiveSettings | None = None
    bulkhead: BulkheadSettings | None = None
    limit: float | None = None
    rate: float | None = None
    limited: bool = False
    keyed: bool = False

    @property
    def attempts(self) -> int:
        """How often one call is tried at most."""
        return 1 if self.retry is None else self.retry.attempts

    @property
    def attempt(self) -> float:
        """The seconds that the first attempt gets at most."""
        return min(self.timeout, self.deadline * self.share) if self.repeatable else self.deadline

    @property
    def traffic(self) -> float | None:
        """The calls a second that can come, as far as is known."""
        known = [one for one in (self.limit, self.rate) if one is not None]
        return min(known) if known else None


def lint(plan: Plan) -> tuple[Finding, ...]:
    """Return what contradicts within one policy."""
    kinds = (_times, _budget, _retries, _hedge, _breaker, _bulkhead, _adaptive, _keys)
    return tuple(finding for kind in kinds for finding in kind(plan))


def lint_nested(plans: Sequence[Plan]) -> tuple[Finding, ...]:
    """Return what contradicts between policies around each other, the outermost first.

    Retries multiply: three layers of three attempts are 27 calls of the innermost, for one of the
    outermost. The budgets bound it once failures go on, not in the first moments.
    """
    return (*_product(plans), *_cut_short(plans))


def _times(plan: Plan) -> Iterator[Finding]:
    if plan.timeout in (_USUAL, inf):  # nobody has asked for it
        pass
    elif not plan.repeatable:
        most = f"all of the deadline ({plan.deadline:g} s)" if plan.deadline < inf else "for ever"
        yield Finding(
            "timeout",
            f"{plan.timeout:g} s bound nothing: a call that is not repeatable has one attempt,"
            f" which may take {most}",
        )
    elif plan.deadline * plan.share < plan.timeout:
        yield Finding(
            "timeout",
            f"{plan.timeout:g} s are never reached: an attempt gets {plan.share:.0%} of what"
            f" remains of {plan.deadline:g} s, so at most {plan.attempt:g} s",
        )
    if plan.timeout in (_USUAL, inf) and plan.retry == _RETRY:  # nor for so many attempts
        return
    for number, allowed in enumerate(_allowances(plan), 1):
        if allowed < LEAST * plan.attempt:
            fit = "1 attempt fits" if number == 2 else f"{number - 1} attempts fit"
            of = f" of the {plan.attempt:g} s of the first" if plan.timeout < inf else ""
            more = "a longer deadline" if plan.timeout < inf else "a timeout"
            yield Finding(
                "attempts",
                f"where each takes all its time, attempt {number} of {plan.attempts} has"
                f" {allowed:.3g} s left{of}: {fit} into {plan.deadline:g} s;"
                f" attempts={number - 1}, or {more}, would be right",
            )
            return


def _allowances(plan: Plan) -> Iterator[float]:
    """Yield what each attempt of a repeatable call gets where each one hangs."""
    if not plan.repeatable or plan.retry is None:
        return
    left = plan.deadline
    for number in range(1, plan.attempts + 1):
        allowed = max(0.0, min(plan.timeout, left * plan.share))
        yield allowed
        left -= allowed + _longest_wait(plan.retry, number)


def _longest_wait(retry: BackoffSettings, attempt: int) -> float:
    return min(retry.cap, retry.base * 2.0 ** (attempt - 1))


def _budget(plan: Plan) -> Iterator[Finding]:
    budget, lost = plan.budget, list[str]()
    if plan.attempts > 1:
        lost.append(f"{plan.attempts} attempts are always 1")
    if plan.hedge is not None:
        lost.append("nothing is ever hedged")
    if lost and not budget.ratio and budget.floor * budget.window.span < 1:
        within = f" within {budget.window.span:g} s" if budget.floor else ""
        yield Finding(
            "budget",
            f"a ratio of 0 and a floor of {budget.floor:g} pay for nothing{within}:"
            f" {' and '.join(lost)}",
        )


def _hedge(plan: Plan) -> Iterator[Finding]:
    if plan.hedge is not None and plan.hedge.least >= plan.attempt:
        yield Finding(
            "hedge.least",
            f"nothing is ever hedged: a second attempt is sent after {plan.hedge.least:g} s at the"
            f" earliest, and the first ends after {plan.attempt:g} s",
        )


def _retries(plan: Plan) -> Iterator[Finding]:
    retry = plan.retry
    if retry is None or retry.attempts == 1:
        return
    if retry.base >= plan.deadline:
        yield Finding(
            "retry",
            f"the first wait may take {retry.base:g} s, as long as the whole call"
            f" ({plan.deadline:g} s)",
        )


def _breaker(plan: Plan) -> Iterator[Finding]:
    breaker = plan.breaker
    if breaker is None:
        return
    span, traffic = breaker.window.span, plan.traffic
    if traffic is not None and traffic * span < breaker.calls:
        yield Finding(
            "breaker",
            f"at {traffic:g} calls a second its window of {span:g} s holds {traffic * span:g}, and"
            f" it judges from {breaker.calls} on: only {breaker.consecutive} failures in a row"
            f" open it, after {breaker.consecutive / traffic:.3g} s",
        )
    if breaker.slow_after is not None and breaker.slow_after >= plan.attempt:
        yield Finding(
            "breaker.slow_after",
            f"no call is ever slow: an attempt ends after {plan.attempt:g} s,"
            f" and is slow from {breaker.slow_after:g} s on",
        )
    if breaker.probe_lease < plan.attempt < inf:  # a lease without end would be no lease
        yield Finding(
            "breaker.probe_lease",
            f"a probe may take {plan.attempt:g} s, and gives up its place after"
            f" {breaker.probe_lease:g} s: several would be out at a time",
        )


def _bulkhead(plan: Plan) -> Iterator[Finding]:
    bulkhead = plan.bulkhead
    if bulkhead is None:
        return
    if bulkhead.queue and not bulkhead.patience:
        yield Finding(
            "bulkhead.queue",
            f"{bulkhead.queue} may wait, with a patience of 0: nobody is ever served from it",
        )
    if bulkhead.permit_age < plan.attempt < inf:
        yield Finding(
            "bulkhead.permit_age",
            f"a call may take {plan.attempt:g} s, and counts as overdue after"
            f" {bulkhead.permit_age:g} s",
        )
    traffic = plan.traffic
    if traffic is not None and inf > traffic * plan.attempt > bulkhead.permits + bulkhead.queue:
        yield Finding(
            "bulkhead",
            f"at {traffic:g} calls a second that take up to {plan.attempt:g} s there would be"
            f" {traffic * plan.attempt:g} inside (Little's law); {bulkhead.permits} permits and a"
            f" queue of {bulkhead.queue} refuse the rest",
        )


def _adaptive(plan: Plan) -> Iterator[Finding]:
    adaptive, bulkhead = plan.adaptive, plan.bulkhead
    if adaptive is None or bulkhead is None:
        return
    room = bulkhead.permits + bulkhead.queue
    if adaptive.least > room:
        yield Finding(
            "adaptive.least",
            f"nobody is ever refused by it: its limit stays at {adaptive.least:g} at least, and the"
            f" bulkhead has room for {room}",
        )


def _keys(plan: Plan) -> Iterator[Finding]:
    if plan.keyed and not plan.limited:
        yield Finding("key", "it says whose rate a call counts against, and there is no rate")


def _product(plans: Sequence[Plan]) -> Iterator[Finding]:
    product = 1
    for plan in plans:
        product *= plan.attempts
    retrying = [plan for plan in plans if plan.attempts > 1]
    if len(retrying) > 1:
        names = " around ".join(f"{plan.name} ({plan.attempts})" for plan in plans)
        yield Finding(
            "attempts",
            f"{names}: one call may become {product} of '{plans[-1].name}';"
            " let only the innermost retry",
        )


def _cut_short(plans: Sequence[Plan]) -> Iterator[Finding]:
    for outer, inner in pairwise(plans):
        if outer.attempt < inner.deadline < inf:  # one that has none is bounded by the outer
            yield Finding(
                "deadline",
                f"'{inner.name}' is given {inner.deadline:g} s inside an attempt of '{outer.name}'"
                f" that ends after {outer.attempt:g} s",
            )
