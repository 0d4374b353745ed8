"""Of every setting: its default, what is just right, and what is just wrong."""

from typing import Any

import msgspec
import pytest

from switchgear.policy.settings import (
    BalanceSettings,
    BucketSettings,
    BudgetSettings,
    BulkheadSettings,
    EjectionSettings,
    GcraSettings,
    HurrySettings,
    LatencySettings,
    ShedderSettings,
    WindowSettings,
)
from tests.unit.policy.settings import accepts, refuses, stays

Kind = type[msgspec.Struct]
NEEDED: dict[Kind, dict[str, float]] = {
    BucketSettings: {"rate": 1.0, "burst": 1.0},
    GcraSettings: {"interval": 1.0},
}
DEFAULTS: dict[Kind, dict[str, object]] = {
    WindowSettings: {"span": 10.0, "buckets": 10},
    LatencySettings: {"span": 30.0, "samples": 20},
    BucketSettings: {"keys": 65_536},
    GcraSettings: {"tolerance": 0.0, "keys": 65_536},
    BudgetSettings: {"ratio": 0.2, "floor": 3.0, "window": WindowSettings(10.0, 10)},
    BulkheadSettings: {
        "permits": 64,
        "queue": 64,
        "patience": 0.1,
        "standing": 0.1,
        "hurried": 0.5,
        "permit_age": 300.0,
    },
    HurrySettings: {"quantile": 0.5, "samples": 20, "span": 10.0},
    ShedderSettings: {
        "begin": 0.05,
        "full": 0.5,
        "smoothing": 0.5,
        "retry_after": 1.0,
        "stale": 5.0,
        "queue_begin": 0.1,
        "queue_full": 1.0,
    },
    BalanceSettings: {"slow_start": 10.0},
    EjectionSettings: {"most": 0.5, "panic_below": 0.5},
}
RIGHT: dict[Kind, dict[str, tuple[float, ...]]] = {
    WindowSettings: {"span": (0.001,), "buckets": (1, 1000)},
    LatencySettings: {"span": (0.001,), "samples": (1,)},
    BucketSettings: {"rate": (0.001,), "burst": (1,), "keys": (1,)},
    GcraSettings: {"interval": (0.001,), "tolerance": (0,), "keys": (1,)},
    BudgetSettings: {"ratio": (0, 1), "floor": (0,)},
    BulkheadSettings: {
        "permits": (1,),
        "queue": (0,),
        "patience": (0, 1),
        "standing": (0,),
        "hurried": (0, 1),
        "permit_age": (0.001,),
    },
    HurrySettings: {"quantile": (0, 1), "samples": (1,), "span": (0.001,)},
    ShedderSettings: {
        "begin": (0.001,),
        "full": (0.051,),
        "smoothing": (0.001,),
        "retry_after": (0,),
        "stale": (0.001,),
        "queue_begin": (0.001,),
        "queue_full": (0.11,),
    },
    BalanceSettings: {"slow_start": (0,)},
    EjectionSettings: {"most": (0, 1), "panic_below": (0, 1)},
}
WRONG: dict[Kind, dict[str, tuple[float, ...]]] = {
    WindowSettings: {"span": (0, 1e-310), "buckets": (0, 1001)},
    LatencySettings: {"span": (0,), "samples": (0,)},
    BucketSettings: {"rate": (0, 1e-310), "burst": (0.5,), "keys": (0,)},
    GcraSettings: {"interval": (0,), "tolerance": (-0.1,), "keys": (0,)},
    BudgetSettings: {"ratio": (-0.1, 1.1), "floor": (-0.1,)},
    BulkheadSettings: {
        "permits": (0,),
        "queue": (-1,),
        "patience": (-0.1, 1.1),
        "standing": (-0.1,),
        "hurried": (-0.1, 1.1),
        "permit_age": (0,),
    },
    HurrySettings: {"quantile": (-0.1, 1.1), "samples": (0,), "span": (0,)},
    ShedderSettings: {
        "begin": (0,),
        "full": (0.05,),
        "smoothing": (0,),
        "retry_after": (-0.1,),
        "stale": (0,),
        "queue_begin": (0,),
        "queue_full": (0.1,),
    },
    BalanceSettings: {"slow_start": (-0.1,)},
    EjectionSettings: {"most": (-0.1, 1.1), "panic_below": (-0.1, 1.1)},
}


def cases(table: dict[Kind, dict[str, tuple[float, ...]]]) -> list[Any]:
    return [
        pytest.param(kind, field, value, id=f"{kind.__name__}.{field}={value}")
        for kind, fields in table.items()
        for field, values in fields.items()
        for value in values
    ]


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_every_setting_is_in_every_table_and_stays_as_it_is(kind: Kind) -> None:
    made = kind(**NEEDED.get(kind, {}))
    named = set(made.__struct_fields__)
    assert named == DEFAULTS[kind].keys() | NEEDED.get(kind, {}).keys()
    assert named - {"window"} == RIGHT[kind].keys() == WRONG[kind].keys()
    for field, value in DEFAULTS[kind].items():
        assert getattr(made, field) == value
    stays(made)


@pytest.mark.parametrize(("kind", "field", "value"), cases(RIGHT))
def test_what_is_just_right_is_taken(kind: Kind, field: str, value: float) -> None:
    accepts(kind, **(NEEDED.get(kind, {}) | {field: value}))


@pytest.mark.parametrize(("kind", "field", "value"), cases(WRONG))
def test_what_is_just_wrong_is_refused(kind: Kind, field: str, value: float) -> None:
    given = {field: value} | {
        name: each for name, each in NEEDED.get(kind, {}).items() if name != field
    }
    refuses(kind, **given)


def test_a_limit_that_nobody_could_ever_reach_is_refused() -> None:
    """Arithmetic has an end: what is owed would be nothing beside what may be."""
    refuses(BucketSettings, rate=1e-300, burst=1e10)
    accepts(BucketSettings, rate=1e-300, burst=1e7)
    refuses(GcraSettings, tolerance=1e308, interval=1e308)
    accepts(GcraSettings, interval=1e308, tolerance=0)


def test_a_bucket_of_a_window_is_a_nanosecond_at_least() -> None:
    accepts(WindowSettings, span=1e-9, buckets=1)
    refuses(WindowSettings, span=5e-9, buckets=10)
    with pytest.raises(ValueError, match="span is 0, where a finite number above 0 would be right"):
        WindowSettings(span=0)


def test_a_window_is_one() -> None:
    wrong: Any = 5.0
    with pytest.raises(TypeError, match=r"BudgetSettings.window is 5.0, where a WindowSettings"):
        BudgetSettings(window=wrong)
