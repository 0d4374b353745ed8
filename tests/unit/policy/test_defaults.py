"""The defaults are those of one table; whoever changes one changes it here, with a measurement."""

from switchgear.policy.backoff import BackoffSettings
from switchgear.policy.breaker import BreakerSettings
from switchgear.policy.budget import BudgetSettings
from switchgear.policy.bulkhead import BulkheadSettings
from switchgear.policy.ejection import EjectionSettings
from switchgear.policy.shedder import ShedderSettings
from switchgear.policy.window import WindowSettings


def test_breaker() -> None:
    settings = BreakerSettings()
    assert (settings.failures, settings.calls, settings.consecutive) == (0.5, 10, 5)
    assert (settings.slow, settings.slow_after) == (0.6, None)
    assert (settings.window.span, settings.window.buckets) == (10.0, 10)
    assert (settings.open_for, settings.open_most, settings.jitter) == (5.0, 15.0, 0.2)
    assert (settings.probes, settings.probe_lease, settings.ramp) == (3, 10.0, 10.0)


def test_bulkhead() -> None:
    settings = BulkheadSettings()
    assert (settings.permits, settings.queue, settings.patience) == (64, 64, 0.1)
    assert (settings.standing, settings.hurried, settings.permit_age) == (0.1, 0.5, 300.0)


def test_attempts_and_backoff() -> None:
    settings = BackoffSettings()
    assert (settings.attempts, settings.base, settings.cap) == (3, 0.025, 0.25)
    assert settings.longest_retry_after == 3.0


def test_retry_budget() -> None:
    settings = BudgetSettings()
    assert (settings.ratio, settings.floor) == (0.2, 3.0)
    assert settings.window == WindowSettings(span=10.0, buckets=10)


def test_shedder() -> None:
    settings = ShedderSettings()
    assert (settings.begin, settings.full, settings.smoothing) == (0.05, 0.5, 0.5)
    assert (settings.retry_after, settings.stale) == (1.0, 5.0)


def test_ejection() -> None:
    settings = EjectionSettings()
    assert (settings.most, settings.panic_below) == (0.5, 0.5)
