"""Who is in too much of a hurry, in situations."""

import pytest

from switchgear.policy.fault import Effect, Refusal
from switchgear.policy.gate import ANYONE, Ask, Permit, Refused, Waiting
from switchgear.policy.hurry import Hurry, HurrySettings
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict


def taught(
    *seconds: float, verdict: Verdict = GOOD, settings: HurrySettings | None = None
) -> Hurry:
    """Return a gate through which calls of such lengths went, all ending at the instant 0."""
    hurry = Hurry("mail", settings or HurrySettings())
    for each in seconds:
        permit = hurry.admit(ANYONE, -each)
        assert isinstance(permit, Permit)
        assert hurry.settle(permit, verdict, 0.0) == ()
    return hurry


def passes(hurry: Hurry, left: float, now: float = 0.0) -> bool:
    return isinstance(hurry.admit(Ask(deadline=now + left), now), Permit)


def test_who_has_less_left_than_half_of_the_calls_take_is_refused() -> None:
    hurry = taught(*[0.05] * 9, *[0.1] * 2, *[1.0] * 9)
    assert not passes(hurry, 0.09)
    assert passes(hurry, 0.11)


def test_who_has_just_as_long_as_it_usually_takes_may_go() -> None:
    hurry = taught(*[0.1] * 20)
    assert hurry.admit(ANYONE, 0.0)
    usual = float(hurry.statistics()["usual"])
    assert passes(hurry, usual)
    assert not passes(hurry, usual * 0.999)


def test_the_time_left_counts_from_now() -> None:
    hurry = taught(*[0.5] * 20)
    assert passes(hurry, 0.6, now=3.0)
    assert not passes(hurry, 0.4, now=3.0)


def test_the_refusal_says_how_much_was_left_and_had_surely_no_effect() -> None:
    refusal = taught(*[0.1] * 20).admit(Ask(deadline=2.025), 2.0)
    assert isinstance(refusal, Refused)
    assert refusal.refusal is Refusal.HURRIED
    assert refusal.retry_after is None
    assert refusal.detail == "'mail': 0.025 s are left, the dependency usually takes 0.101 s"
    assert refusal.fault().effect is Effect.NONE


def test_nobody_is_refused_while_nothing_is_known() -> None:
    assert passes(Hurry("mail"), 0.0)
    assert passes(taught(*[0.1] * 19), 0.001)
    assert not passes(taught(*[0.1] * 20), 0.001)


def test_a_call_without_a_deadline_always_has_time() -> None:
    assert isinstance(taught(*[1000.0] * 20).admit(ANYONE, 0.0), Permit)


@pytest.mark.parametrize("verdict", [BAD, NEUTRAL])
def test_only_good_calls_show_how_long_an_answer_takes(verdict: Verdict) -> None:
    assert passes(taught(*[0.1] * 20, verdict=verdict), 0.001)


def test_the_head_of_an_answer_that_streams_is_what_counts() -> None:
    hurry = Hurry("mail")
    permits = [hurry.admit(ANYONE, 1.0) for _ in range(20)]
    for permit in permits:
        assert isinstance(permit, Permit)
        permit.answered = 1.5
        hurry.settle(permit, GOOD, 4.0)
    assert hurry.admit(ANYONE, 4.0)
    assert hurry.statistics()["usual"] == pytest.approx(0.5, rel=0.026)


def test_a_slow_spell_is_forgotten_even_if_nobody_is_let_in() -> None:
    hurry = taught(*[5.0] * 20)
    assert not passes(hurry, 1.0, now=9.9)
    assert passes(hurry, 1.0, now=10.0)
    assert hurry.statistics()["usual"] == 0.0


def test_the_share_of_the_calls_can_be_chosen() -> None:
    hurry = taught(*[0.05] * 9, *[1.0], settings=HurrySettings(quantile=0.9, samples=10))
    assert passes(hurry, 0.06)
    hurry = taught(*[0.05] * 9, *[1.0] * 2, settings=HurrySettings(quantile=0.9, samples=10))
    assert not passes(hurry, 0.9)


def test_what_is_usual_is_known_with_the_observation_that_makes_it_known() -> None:
    hurry = Hurry("mail")
    for number in range(20):
        assert hurry.usual == 0.0, number
        assert repr(hurry.usual) == "0.0"
        hurry.observe(0.1, 0.0)
    assert hurry.usual == pytest.approx(0.1, rel=0.026)
    hurry.observe(0.1, 10.0)
    assert hurry.usual == 0.0, "of the last span there is but one"


def test_a_frame_may_ask_without_a_permit() -> None:
    hurry = taught(*[0.1] * 20)
    assert hurry.refuses(0.2, 1.0) is None
    refusal = hurry.refuses(0.05, 1.0)
    assert refusal is not None
    assert refusal.refusal is Refusal.HURRIED
    assert hurry.refuses(0.05, 10.0) is None, "forgotten by then"
    figures = hurry.statistics()
    assert (figures["refused"], figures["admitted"], figures["usual"]) == (1, 20, 0.0)


def test_a_double_settle_raises_and_teaches_nothing() -> None:
    hurry = taught(*[0.1] * 19)
    permit = hurry.admit(ANYONE, 0.0)
    assert isinstance(permit, Permit)
    hurry.settle(permit, NEUTRAL, 0.1)
    with pytest.raises(RuntimeError, match="hurry 'mail' was settled twice"):
        hurry.settle(permit, GOOD, 0.1)
    assert passes(hurry, 0.001)
    assert permit.spent


def test_it_gives_out_no_waiting_places() -> None:
    with pytest.raises(RuntimeError, match="hurry 'mail' gives out no waiting places"):
        Hurry("mail").abandon(Waiting(ANYONE, 0.0, 1.0), 0.0)


def test_statistics() -> None:
    fresh = Hurry("mail").statistics()
    assert fresh == {"usual": 0.0, "admitted": 0, "settled": 0, "out": 0, "refused": 0}
    hurry = taught(*[0.1] * 20)
    permit = hurry.admit(Ask(weight=3), 0.0)
    assert isinstance(permit, Permit)
    assert (permit.weight, permit.generation, permit.at) == (3, 0, 0.0)
    assert not passes(hurry, 0.01)
    figures = hurry.statistics()
    assert figures.pop("usual") == pytest.approx(0.1, rel=0.026)
    assert figures == {"admitted": 21, "settled": 20, "out": 1, "refused": 1}


def test_what_kind_of_gate_it_is_and_its_name_are_told() -> None:
    gate = Hurry("mail")
    assert (gate.kind, gate.name) == ("hurry", "mail")


def test_settings_do_not_change_under_whoever_shares_them() -> None:
    settings = HurrySettings()
    with pytest.raises(AttributeError):
        settings.samples = 1  # type: ignore[misc]  # the point of the test


def test_to_look_is_not_to_refuse() -> None:
    hurry = Hurry("mail", HurrySettings(samples=1))
    assert not hurry.falls_short(-1.0, 0.0), "nothing is known yet"
    hurry.observe(0.1, 0.0)
    assert hurry.falls_short(0.05, 0.0)
    assert not hurry.falls_short(0.2, 0.0)
    assert hurry.statistics()["refused"] == 0
    assert hurry.refuses(0.05, 0.0) is not None
    assert hurry.statistics()["refused"] == 1
