"""What a policy is made of: its options, and the parts of the stack that they stand for."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from inspect import isclass
from math import inf
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import fields, replace

from switchgear.core import checks
from switchgear.core.clock import Clock
from switchgear.core.coalesce import coalescing
from switchgear.core.fallback import Fallback, Stale, computed, falling_back, static
from switchgear.core.handler import Judge, Layer
from switchgear.core.hedged import hedging
from switchgear.core.invocation import answer_of, of_arguments, same_work
from switchgear.core.observe import Observer, Refusing, fan_out
from switchgear.core.retry import Retry
from switchgear.core.stack import Part, Place, Setting
from switchgear.core.timeout import Timeout
from switchgear.policy.adaptive import AdaptiveLimit, AdaptiveSettings
from switchgear.policy.backoff import Backoff, BackoffSettings
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.bucket import BucketSettings, Gcra, GcraSettings, TokenBucket
from switchgear.policy.budget import BudgetSettings, RetryBudget
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.gate import Gate, Refused
from switchgear.policy.hedge import Hedge, HedgeSettings
from switchgear.policy.hurry import Hurry, HurrySettings
from switchgear.policy.lint import Plan
from switchgear.policy.observing import Observing

__all__ = ["PARTS", "Builder", "Mode", "Options", "tries"]

Mode = Literal["enforce", "observe", "off"]

PARTS: Final = (
    "fallback",
    "coalesce",
    "retry",
    "hedge",
    "hurry",
    "breaker",
    "rate",
    "adaptive",
    "bulkhead",
    "timeout",
)
"""What has a mode of its own. Where others answer in its place, to observe means to leave out."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy was given, durations in seconds. None leaves a part out."""

    deadline: float | None = 3.0
    timeout: float | None = 1.0
    repeatable: bool = False
    retry: BackoffSettings | None = BackoffSettings()
    budget: BudgetSettings = BudgetSettings()
    hurry: HurrySettings | None = HurrySettings()
    breaker: BreakerSettings | None = BreakerSettings()
    bulkhead: BulkheadSettings | None = BulkheadSettings()
    rate: BucketSettings | GcraSettings | None = None
    adaptive: AdaptiveSettings | None = None
    hedge: HedgeSettings | None = None
    fallback: Fallback | Callable[..., Any] | None = None
    coalesce: Callable[..., Hashable | None] | None = None
    key: Callable[..., str] | None = None
    mode: Mode | Mapping[str, Mode] = "enforce"
    chaos: Layer | None = None

    def __post_init__(self) -> None:
        for option, kinds in _KINDS.items():
            checks.kind(option, getattr(self, option), *kinds)
        checks.kind("budget", self.budget, BudgetSettings, optional=False)
        if not isinstance(self.repeatable, bool):
            raise TypeError(f"repeatable={self.repeatable!r}: True or False would be right")
        for option in ("coalesce", "key", "chaos"):
            checks.function(option, getattr(self, option))
        if not isinstance(self.fallback, Fallback | None) and not callable(self.fallback):
            raise TypeError(
                f"fallback={self.fallback!r}: static(a value), a Stale(...), or a function of the"
                " error and the call's arguments would be right"
            )
        for made, right in ((static, "static(a value)"), (computed, "computed(a function)")):
            if self.fallback is made:
                raise TypeError(f"fallback={made.__name__}: {right} would be right")
        if isclass(self.fallback):
            raise TypeError(f"fallback={self.fallback!r}: one that is made of it would be right")
        if isinstance(self.fallback, Stale):
            checks.function("fallback.key", self.fallback.key, optional=False)
            checks.function("fallback.mark", self.fallback.mark)
        checks.modes(self.mode, PARTS)
        if self.hedge is not None and not self.repeatable:
            raise ValueError("hedge: only a repeatable call may be sent twice at a time")

    @property
    def bounded(self) -> bool:
        """Whether the policy itself bounds an attempt: else only what is around it does."""
        limit = self.timeout is not None and self.repeatable
        return self.mode_of("timeout") != "off" and (limit or self.deadline is not None)

    @property
    def full(self) -> float | None:
        """The seconds that a call has in all; None where nothing says so."""
        return None if self.mode_of("timeout") == "off" else self.deadline

    def mode_of(self, part: str) -> Mode:
        """Say in which mode a part is."""
        if isinstance(self.mode, Mapping):
            return self.mode.get(part, "enforce")
        return self.mode

    def plan(self, name: str, rate: float | None) -> Plan:
        """Tell what the linter has to know: nothing of what is off."""
        off = {part for part in PARTS if self.mode_of(part) == "off"}
        full = self.full
        return Plan(
            name=name,
            deadline=inf if full is None else full,
            timeout=inf if self.timeout is None or "timeout" in off else self.timeout,
            share=1.0 if self.timeout is None or "timeout" in off or self._once else 0.5,
            repeatable=self.repeatable,
            retry=None if "retry" in off else self.retry,
            budget=self.budget,
            hedge=None if "hedge" in off else self.hedge,
            breaker=None if "breaker" in off else self.effective_breaker,
            adaptive=None if "adaptive" in off else self.adaptive,
            bulkhead=None if "bulkhead" in off else self.bulkhead,
            limit=None if "rate" in off else self._limit,
            rate=rate,
            limited=self.rate is not None,
            keyed=self.key is not None,
        )

    def derived(self) -> dict[str, Setting]:
        """Return what of the breaker's settings follows from the time that an attempt has."""
        breaker, found = self.breaker, dict[str, Setting]()
        if breaker is None or not self.bounded:
            return found
        timeout = self.attempt()
        attempt = timeout.allow(timeout.full, repeatable=self.repeatable)
        if breaker.slow_after is None:
            slow = timeout.fair(repeatable=self.repeatable)
            found["slow_after"] = Setting("slow_after", slow, "derived: 80 % of an attempt's time")
        if breaker.probe_lease == BreakerSettings().probe_lease < attempt:
            lease = Setting("probe_lease", attempt, "derived: all of an attempt's time")
            found["probe_lease"] = lease
        return found

    def attempt(self) -> Timeout:
        """Make the timeout of an attempt."""
        full = inf if self.full is None else self.full
        enforce = self.mode_of("timeout") == "enforce"
        if self.timeout is None or not self.repeatable:  # no time to be kept for another
            return Timeout(full, limit=inf, share=1.0, enforce=enforce)
        if self._once:
            return Timeout(full, limit=self.timeout, share=1.0, enforce=enforce)
        return Timeout(full, limit=self.timeout, enforce=enforce)

    @property
    def _once(self) -> bool:
        """Whether no second attempt is ever made, for which half of the time would be kept."""
        return self.retry is None or self.retry.attempts == 1 or self.mode_of("retry") == "off"

    @property
    def effective_breaker(self) -> BreakerSettings | None:
        """The breaker's settings with what is derived."""
        if self.breaker is None:
            return None
        return replace(self.breaker, **{name: it.value for name, it in self.derived().items()})

    @property
    def _limit(self) -> float | None:
        """The calls a second that the rate limit lets in; not known where it counts by key."""
        if self.rate is None or self.key is not None:
            return None
        return self.rate.rate if isinstance(self.rate, BucketSettings) else 1.0 / self.rate.interval


_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "retry": (BackoffSettings,),
    "hurry": (HurrySettings,),
    "breaker": (BreakerSettings,),
    "bulkhead": (BulkheadSettings,),
    "rate": (BucketSettings, GcraSettings),
    "adaptive": (AdaptiveSettings,),
    "hedge": (HedgeSettings,),
}
_DEFAULTS: Final = Options()
_ONCE: Final = BackoffSettings(attempts=1)


def tries(retry: BackoffSettings | None, attempts: int | None) -> BackoffSettings | None:
    """Join the two ways to say how often."""
    if attempts is None:
        return retry
    if retry is None and attempts == 1:
        return None
    if retry is None:
        raise ValueError(f"attempts={attempts} contradicts retry=None: give one of them")
    if isinstance(attempts, bool) or not isinstance(attempts, int):
        raise TypeError(f"attempts={attempts!r}: a whole number of at least 1 would be right")
    checks.kind("retry", retry, BackoffSettings)
    return replace(retry, attempts=attempts)


class Builder:
    """Makes the parts of one policy. What it made can be asked for by name in `made`."""

    def __init__(
        self,
        name: str,
        options: Options,
        *,
        clock: Clock,
        random: Callable[[], float],
        observe: Observer,
        judge: Judge | None,
    ) -> None:
        self.name = name
        self.made: dict[str, Any] = {}
        self.budget = RetryBudget(options.budget)
        self._options = options
        self._clock = clock
        self._random = random
        self._observe = fan_out(observe)  # machines and layers tell it, and take no defect of it
        self._judge = judge

    def parts(self) -> Iterator[Part]:
        """Make every part that is not off."""
        yield from self._layers()
        yield from self._schedules()
        yield from self._gates()
        if self._options.chaos is not None:
            yield Part(Place.DRILL, self._options.chaos)

    def _layers(self) -> Iterator[Part]:
        """Make what answers in the place of the dependency: observed, it is left out."""
        options = self._options
        name, clock, tell, judge = self.name, self._clock, self._observe, self._judge
        if options.fallback is not None and options.mode_of("fallback") == "enforce":
            fallback = of_arguments(name, options.fallback)
            layer: Any = falling_back(fallback, name=name, clock=clock, tell=tell, judge=judge)
            told = (Setting("answer", answer_of(options.fallback), "given"),)
            yield Part(Place.FALLBACK, self._keep("fallback", layer), told)
        if options.coalesce is not None and options.mode_of("coalesce") == "enforce":
            layer = coalescing(same_work(name, options.coalesce), name=name, clock=clock, tell=tell)
            told = (Setting("key", options.coalesce, "given"),)
            yield Part(Place.COALESCE, self._keep("coalesce", layer), told)
        if options.hedge is not None and options.mode_of("hedge") == "enforce":
            hedge = Hedge(options.hedge)
            withdraw = self.budget.withdraw
            layer = hedging(hedge, withdraw, name=name, clock=clock, tell=tell, judge=judge)
            yield Part(
                Place.HEDGE, self._keep("hedge", layer), _told(options.hedge, HedgeSettings())
            )

    def _schedules(self) -> Iterator[Part]:
        options = self._options
        mode, retry = options.mode_of("retry"), options.retry
        if mode == "off" or (retry is not None and retry.attempts == 1):
            retry = None
        if retry is None and options.hedge is not None and options.mode_of("hedge") == "enforce":
            # The budget that pays for hedges has to know of the calls; and two attempts that race
            # are one call, to be told by somebody outside.
            retry, mode = _ONCE, "enforce"
        if retry is not None:
            schedule = Backoff(retry, random=self._random)
            told = (
                *_told(retry, BackoffSettings()),
                *_told(options.budget, BudgetSettings(), "budget."),
            )
            self.made["budget"] = self.budget
            yield Part(Place.RETRY, Retry(schedule, self.budget, mode == "enforce"), told)
        if options.mode_of("timeout") != "off":
            timeout = options.attempt()
            told = (
                _setting("deadline", options.deadline, _DEFAULTS.deadline),
                _setting("timeout", options.timeout, _DEFAULTS.timeout),
                _setting("repeatable", options.repeatable, _DEFAULTS.repeatable),
            )
            if options.bounded:
                fair = timeout.fair(repeatable=options.repeatable)
                told = (*told, Setting("fair", fair, "derived"))
            yield Part(Place.TIMEOUT, timeout, told)

    def _gates(self) -> Iterator[Part]:
        options = self._options
        if options.hurry is not None:
            yield from self._gate(
                "hurry",
                Place.HURRY,
                Hurry(self.name, options.hurry),
                _told(options.hurry, HurrySettings()),
            )
        if options.breaker is not None:
            settings = options.effective_breaker or options.breaker
            told = tuple(
                options.derived().get(one.name, one)
                for one in _told(options.breaker, BreakerSettings())
            )
            breaker = Breaker(self.name, settings, jitter=self._random, on_transition=self._observe)
            yield from self._gate("breaker", Place.BREAKER, breaker, told)
        if isinstance(options.rate, BucketSettings):
            limit: Gate = TokenBucket(self.name, options.rate)
            yield from self._gate("rate", Place.RATE, limit, self._rate_told(options.rate))
        elif options.rate is not None:
            limit = Gcra(self.name, options.rate)
            yield from self._gate("rate", Place.RATE, limit, self._rate_told(options.rate))
        if options.adaptive is not None:
            adaptive = AdaptiveLimit(self.name, options.adaptive)
            told = _told(options.adaptive, AdaptiveSettings())
            yield from self._gate("adaptive", Place.BULKHEAD, adaptive, told)
        if options.bulkhead is not None:
            bulkhead = Bulkhead(self.name, options.bulkhead)
            told = _told(options.bulkhead, BulkheadSettings())
            yield from self._gate("bulkhead", Place.BULKHEAD, bulkhead, told)

    def _gate(
        self, part: str, place: Place, gate: Gate, told: tuple[Setting, ...]
    ) -> Iterator[Part]:
        mode = self._options.mode_of(part)
        if mode == "off":
            return
        if mode == "observe":
            gate = Observing(gate, self._would_refuse(gate))
        self.made[part] = gate
        yield Part(place, gate, told)

    def _rate_told(self, rate: msgspec.Struct) -> tuple[Setting, ...]:
        return (*_told(rate, None), _setting("key", self._options.key, None))

    def _would_refuse(self, gate: Gate) -> Callable[[Refused], None]:
        def tell(refused: Refused) -> None:
            self._observe(
                Refusing(
                    self.name,
                    gate.name,
                    refused.detail,
                    refused.refusal,
                    enforced=False,
                    kind=getattr(gate, "kind", "gate"),
                )
            )

        return tell

    def _keep(self, part: str, layer: Any) -> Any:
        self.made[part] = layer
        return layer


def _told(
    given: msgspec.Struct, default: msgspec.Struct | None, prefix: str = ""
) -> tuple[Setting, ...]:
    """List the settings of a part; those that have no default were given."""
    return tuple(
        _setting(
            prefix + field.name,
            getattr(given, field.name),
            getattr(default, field.name, msgspec.UNSET) if default else field.default,
        )
        for field in fields(given)
    )


def _setting(name: str, value: object, default: object) -> Setting:
    return Setting(name, value, "default" if value == default else "given")
