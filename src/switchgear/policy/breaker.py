"""A breaker: stops asking a dependency that fails, and finds out cheaply when it is well again."""

from collections.abc import Callable
from math import inf
from typing import Final

from switchgear.policy.breaker_settings import BreakerSettings, State, Transition
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.probes import Probes
from switchgear.policy.ramp import Ramp
from switchgear.policy.verdict import GOOD, Health, Verdict
from switchgear.policy.window import Window

__all__ = ["Breaker", "BreakerSettings", "State", "Transition"]


_DEFAULTS: Final = BreakerSettings()
# Bound once: reaching an enum's member through its class costs 100 ns on Python 3.11.
_BAD: Final = Health.BAD
_NEUTRAL: Final = Health.NEUTRAL
_CLOSED: Final = State.CLOSED
_OPEN: Final = State.OPEN
_HALF_OPEN: Final = State.HALF_OPEN
_BLOW: Final = 0.01  # seconds within which calls fail together that one event ends
# The kinds that the window counts.
_CALLS: Final = 0
_FAILED: Final = 1
_SLOW: Final = 2


class Breaker:
    """Refuse calls to a dependency that fails or crawls, and probe until it is well.

    ::

                 share of failures or slow calls, or failures in a row
        closed ----------------------------------------------------------> open
           ^  (ramp: admits a growing share)                                | ^
           | enough probes succeeded                        open time over  | | a probe failed
           +------------------------ half_open <----------------------------+ |
                                         +------------------------------------+

    Every change of state starts a new generation, and a permit of an older one changes nothing
    when it comes home. NEUTRAL says nothing about the dependency: it gives the permit back,
    frees the probe's place, and that is all. A probe holds its place by a lease only, so one that
    was lost keeps nobody out for long; while it lasts, its verdict counts even after its lease,
    else a dependency slower than the lease could never close its breaker.

    Calls that were under way together and fail together, as those at a process that is killed, are
    one failure in a row, however many: they tell of one event. (Slow ones count each: their time
    was over, which is an event of its own.) The share counts each.

    While it lets everybody through, nobody need ask: `admit` comes to adding one to `admitted` and
    noting `generation` while `freely`; and `settle`, for a GOOD call, to adding one to `fresh`
    where it ends before `edge`, in the same generation, within `slow_after`. A frame does so by
    hand, which saves it both calls and the permit; in any other case it settles a permit of that
    generation.

    `jitter` returns a random number in [0, 1). `on_transition` is called, last of all, with
    every change of state, and must not raise. Not for use by several threads at once.
    """

    kind: Final = "breaker"

    def __init__(
        self,
        name: str,
        settings: BreakerSettings = _DEFAULTS,
        *,
        jitter: Callable[[], float],
        on_transition: Callable[[Transition], None] | None = None,
    ) -> None:
        self.name = name
        self.state = _CLOSED
        self.on_transition = on_transition
        self._settings = settings
        self._jitter = jitter
        # The express way: see above.
        self.freely = True  # closed, and not on the ramp
        self.generation = 0
        self.admitted = 0
        self.slow_after = inf if settings.slow_after is None else settings.slow_after
        self.edge = -inf  # until when a good call only counts in `fresh`: never amid failures
        self.fresh = 0  # good calls of the newest bucket, not in the window yet
        self._window = Window(3, settings.window)
        self._ramp = Ramp(settings.ramp)
        self._probes = Probes(settings.probe_lease)
        self._consecutive = 0
        self._struck = -inf  # when the last failure came that counts in the row
        self._forced = False
        self._why = ""
        self._open_for = 0.0  # the present open time before jitter, kept until recovered
        self._open_until = -inf
        self._vacated = -inf  # when all that was out by then was left to another process
        self._settled = self._refused = self._late = 0

    # -- the gate

    def admit(self, ask: Ask, now: float) -> Permit | Refused:
        """Let one call through, or refuse it because the dependency is not well."""
        if self.freely:
            self.admitted += 1
            return Permit(now, self.generation)
        if self.state is _OPEN and now >= self._open_until:
            self._move(_HALF_OPEN, now, f"open for {self._open_for:g} s, now probing")
        if self.state is _CLOSED:
            return self._admit_on_ramp(now)
        if self.state is _HALF_OPEN:
            return self._admit_probe(now)
        if self._forced:
            return self._refuse(f"breaker '{self.name}' is held open: {self._why}")
        wait = self._open_until - now
        return self._refuse(f"breaker '{self.name}' is open for {wait:.3g} s more", wait)

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        """Take back a permit and learn from how its call went. Nobody ever waits here.

        Raises:
            RuntimeError: this permit was settled before.
        """
        if permit.spent:
            raise RuntimeError(f"a permit of breaker '{self.name}' was settled twice")
        permit.spent = True
        if (
            verdict is GOOD
            and now < self.edge
            and permit.generation == self.generation
            and now - permit.at <= self.slow_after
        ):
            self.fresh += 1
        else:
            self._learn(permit, verdict.health, now)
        return ()

    def abandon(self, waiting: Waiting, now: float) -> None:
        """Refuse to: a breaker gives out no waiting places.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"breaker '{self.name}' gives out no waiting places")

    def vacate(self, now: float) -> None:
        """Have nothing out: what is comes home to another process, by a fork.

        A copy of it that ends here is of an older generation, and so one that a frame does not
        settle by hand: neither with this nor with the bulkhead, where it has no place any more.
        """
        self._gather()
        self._settled = self.admitted
        self._vacated = now
        self.generation += 1
        self._probes.vacate()

    def available(self, now: float) -> bool:
        """Say whether an ask might be admitted now, changing nothing (balancers look ahead)."""
        if self.state is _CLOSED:
            return True
        if self.state is _OPEN:
            return now >= self._open_until
        return not self._probes.left(now)

    def statistics(self) -> dict[str, float | str]:
        """Return the state and what was admitted, settled and refused so far.

        `late` verdicts came from an older generation, `lapsed` probes outlived their lease.
        """
        self._gather()
        return {
            "state": self.state.value,
            "forced": float(self._forced),
            "generation": self.generation,
            "consecutive": self._consecutive,
            "admitted": self.admitted,
            "settled": self._settled,
            "out": self.admitted - self._settled,
            "refused": self._refused,
            "late": self._late,
            "lapsed": self._probes.lapsed,
        }

    # -- the operator

    def force_open(self, now: float, why: str = "forced by an operator") -> None:
        """Refuse every call until `reset` or `force_closed`."""
        self._forced = True
        self._why = why
        self._move(_OPEN, now, why)

    def force_closed(self, now: float, why: str = "forced by an operator") -> None:
        """Let every call through, whatever comes of it, until `reset` or `force_open`."""
        self._forced = True
        self._move(_CLOSED, now, why)

    def reset(self, now: float, why: str = "reset by an operator") -> None:
        """Close without a ramp and forget the past."""
        self._forced = False
        self._ramp = Ramp(self._settings.ramp)
        self._move(_CLOSED, now, why)

    # -- what a permit teaches

    def _learn(self, permit: Permit, health: Health, now: float) -> None:
        """Take in any verdict that is not just one more good one."""
        self._gather()
        if permit.at >= self._vacated:
            self._settled += 1
        if permit.generation != self.generation:
            self._late += 1
            return
        ended = now if permit.answered is None else permit.answered
        slow = ended - permit.at > self.slow_after
        if self.state is _HALF_OPEN:
            self._probes.give_back(permit)
            if health is not _NEUTRAL:
                self._judge_probe(health, slow, now)
        elif health is not _NEUTRAL:
            self._judge_call(health, slow, permit.at, now)

    def _gather(self) -> None:
        """Bring the good calls that were only counted into the window, in the bucket they fell."""
        if self.fresh:
            self._window.add(_CALLS, -inf, self.fresh)
            self._settled += self.fresh
            self.fresh = 0

    def _judge_call(self, health: Health, slow: bool, at: float, now: float) -> None:
        """Count one call of the present generation, and open when it was one too many."""
        window = self._window
        window.add(_CALLS, now)
        if slow:
            window.add(_SLOW, now)
        if health is _BAD:
            window.add(_FAILED, now)
            if slow or at >= self._struck or now - self._struck >= _BLOW:
                self._consecutive += 1
                self._struck = now
            self.edge = -inf
        else:
            self._consecutive = 0
            self._struck = -inf
            if self.freely:
                self.edge = window.edge
        if (slow or health is _BAD) and not self._forced:
            why = self._reason_to_open(now)
            if why:
                self._move(_OPEN, now, why)

    def _reason_to_open(self, now: float) -> str:
        settings = self._settings
        if self._consecutive >= settings.consecutive:
            return f"{self._consecutive} failures in a row"
        calls = self._window.total(_CALLS, now)
        if calls < settings.calls:
            return ""
        failed = self._window.total(_FAILED, now)
        if failed >= settings.failures * calls:
            return f"{failed} of {calls} calls failed within {settings.window.span:g} s"
        slow = self._window.total(_SLOW, now)
        if slow >= settings.slow * calls:
            return f"{slow} of {calls} calls were slow within {settings.window.span:g} s"
        return ""

    def _judge_probe(self, health: Health, slow: bool, now: float) -> None:
        probes, settings = self._probes, self._settings
        if health is _BAD:
            self._move(_OPEN, now, "a probe failed")
            return
        probes.count(slow)
        if probes.succeeded < settings.probes:
            return
        if probes.slow >= settings.slow * probes.succeeded:
            self._move(_OPEN, now, f"{probes.slow} of {probes.succeeded} probes were slow")
        else:
            self._ramp.start(now)
            self._move(_CLOSED, now, f"{probes.succeeded} probes succeeded")

    # -- admitting while not well

    def _admit_on_ramp(self, now: float) -> Permit | Refused:
        left = self._ramp.left(now)
        if not left:
            self.freely = True
        elif not self._ramp.admits(now):
            share = f"{100 * self._ramp.share(now):.0f} %"
            detail = f"breaker '{self.name}' has just closed and admits {share} of the calls"
            return self._refuse(detail, min(1.0, left))
        self.admitted += 1
        return Permit(now, self.generation)

    def _admit_probe(self, now: float) -> Permit | Refused:
        left = self._probes.left(now)
        if left:
            detail = f"breaker '{self.name}' is half open and its probe is out"
            return self._refuse(detail, min(1.0, left))
        permit = Permit(now, self.generation)
        self._probes.lease(permit)
        self.admitted += 1
        return permit

    # -- every change of state

    def _refuse(self, detail: str, retry_after: float | None = None) -> Refused:
        self._refused += 1
        return Refused(Refusal.OPEN, detail, retry_after)

    def _move(self, new: State, now: float, why: str) -> None:
        """Enter a state with everything that belongs to it: the only place that does."""
        old, self.state = self.state, new
        self.generation += 1
        self._consecutive = 0
        self._gather()
        self._window.clear()
        self._probes.clear()
        self.edge = -inf
        self.freely = new is _CLOSED and (self._forced or not self._ramp.left(now))
        if new is _OPEN:
            self._open_until = inf if self._forced else now + self._next_open_time(old, now)
        if self.on_transition is not None and old is not new:
            self.on_transition(Transition(self.name, old, new, now, why))

    def _next_open_time(self, old: State, now: float) -> float:
        settings = self._settings
        if old is _CLOSED and not self._ramp.left(now):
            self._open_for = 0.0  # it had recovered
        self._open_for = min(settings.open_most, max(settings.open_for, 2 * self._open_for))
        return self._open_for * (1 + settings.jitter * (2 * self._jitter() - 1))
