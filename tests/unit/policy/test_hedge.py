"""When to hedge, in situations."""

import pytest

from switchgear.policy.hedge import Hedge, HedgeSettings


def seen(hedge: Hedge, *seconds: float, at: float = 0.0) -> Hedge:
    for each in seconds:
        hedge.observe(each, at)
    return hedge


def test_nothing_is_hedged_while_nothing_is_known() -> None:
    hedge = Hedge()
    assert hedge.delay(0.0) is None
    assert seen(hedge, *[0.1] * 19).delay(0.0) is None
    assert seen(hedge, 0.1).delay(0.0) is not None


def test_an_attempt_later_than_nineteen_in_twenty_is_hedged() -> None:
    hedge = seen(Hedge(), *[0.01] * 94, *[0.1], *[1.0] * 5)
    assert hedge.delay(0.0) == pytest.approx(0.1, rel=0.026)


def test_the_share_can_be_chosen() -> None:
    hedge = seen(Hedge(HedgeSettings(quantile=0.5)), *[0.01] * 49, *[0.1], *[1.0] * 50)
    assert hedge.delay(0.0) == pytest.approx(0.1, rel=0.026)


def test_it_moves_with_the_dependency() -> None:
    hedge = seen(Hedge(), *[0.01] * 40)
    seen(hedge, *[0.5] * 40, at=20.0)
    assert hedge.delay(20.0) == pytest.approx(0.5, rel=0.026)


def test_quick_as_it_may_be_a_hedge_waits_for_the_least_time() -> None:
    assert seen(Hedge(), *[0.0001] * 20).delay(0.0) == 0.005
    assert seen(Hedge(HedgeSettings(least=0.05)), *[0.01] * 20).delay(0.0) == 0.05
    free = Hedge(HedgeSettings(least=0.0))
    assert seen(free, *[0.0001] * 20).delay(0.0) == pytest.approx(0.0001, rel=0.026)


def test_what_was_long_ago_is_not_known_any_more() -> None:
    hedge = seen(Hedge(HedgeSettings(samples=3, span=8.0)), *[0.1] * 3)
    assert hedge.delay(7.9) is not None
    assert hedge.delay(8.0) is None


def test_how_many_more_is_told() -> None:
    assert Hedge().most_extra == 1
    assert Hedge(HedgeSettings(most_extra=2)).most_extra == 2


def test_defaults() -> None:
    settings = HedgeSettings()
    assert (settings.quantile, settings.least, settings.most_extra) == (0.95, 0.005, 1)
    assert (settings.samples, settings.span) == (20, 30.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantile": 1.1},
        {"quantile": -0.1},
        {"least": -0.1},
        {"most_extra": 0},
        {"most_extra": 11},
        {"samples": 0},
        {"span": 0.0},
    ],
)
def test_wrong_settings_say_what_where_and_what_would_be_right(wrong: dict[str, float]) -> None:
    field = next(iter(wrong))
    with pytest.raises(ValueError, match=rf"HedgeSettings\.{field} is .*would be right"):
        HedgeSettings(**wrong)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    "edge",
    [
        {"quantile": 0},
        {"quantile": 1},
        {"least": 0},
        {"most_extra": 10},
        {"samples": 1},
        {"span": 0.1},
    ],
)
def test_the_edges_of_the_ranges_are_right(edge: dict[str, float]) -> None:
    HedgeSettings(**edge)  # type: ignore[arg-type]  # numbers of both kinds


def test_settings_do_not_change_under_whoever_shares_them() -> None:
    settings = HedgeSettings()
    with pytest.raises(AttributeError):
        settings.least = 1  # type: ignore[misc]  # the point of the test
