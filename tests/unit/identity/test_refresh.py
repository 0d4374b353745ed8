"""Refresh tokens: one successor each, one grace, and an end to the family that was copied."""

import pytest

from switchgear.identity.refresh import (
    Ended,
    Family,
    Presented,
    RefreshSettings,
    RefreshTokens,
    Repeated,
    Reused,
    Rotated,
    begin,
    decide,
)
from switchgear.identity.shared import SharedKeys
from switchgear.policy.fault import Code, Fault

SETTINGS = RefreshSettings(idle=100.0, whole=1000.0, grace=10.0)
TOKENS = RefreshTokens(SharedKeys({"a": b"a" * 32, "b": b"b" * 32}, "a"))


def family(**changes: object) -> Family:
    start = {"id": "f", "generation": 5, "rotated": 1000.0, "ends": 2000.0}
    return Family(**{**start, **changes})  # type: ignore[arg-type]  # made of parts


def test_the_newest_token_is_replaced() -> None:
    found = decide(family(graced=True), 5, 1050.0, SETTINGS)
    assert found == Rotated(family(generation=6, rotated=1050.0, graced=False))


def test_its_predecessor_gets_the_same_successor_once_within_the_grace() -> None:
    found = decide(family(), 4, 1010.0, SETTINGS)
    assert found == Repeated(family(graced=True))
    again = decide(found.family, 4, 1010.0, SETTINGS)
    assert isinstance(again, Reused)
    assert again.family.revoked


@pytest.mark.parametrize(
    ("generation", "now"), [(4, 1010.1), (3, 1001.0), (1, 1001.0), (6, 1001.0), (0, 1001.0)]
)
def test_any_other_token_ends_the_family(generation: int, now: float) -> None:
    found = decide(family(), generation, now, SETTINGS)
    assert isinstance(found, Reused)
    assert found.family == family(revoked=True)
    assert f"generation {generation}" in found.detail


@pytest.mark.parametrize(
    ("row", "now"),
    [(family(revoked=True), 1001.0), (family(), 1100.0), (family(ends=1050.0), 1050.0)],
)
@pytest.mark.parametrize("generation", [3, 4, 5])
def test_a_family_that_ended_answers_no_token(row: Family, now: float, generation: int) -> None:
    assert isinstance(decide(row, generation, now, SETTINGS), Ended)


def test_a_clock_that_went_back_does_not_move_the_instant_of_rotation_back() -> None:
    found = decide(family(), 5, 900.0, SETTINGS)
    assert isinstance(found, Rotated)
    assert found.family.rotated == 1000.0


def test_tokens_are_told_from_their_family_alone() -> None:
    begun = begin(0.0, SETTINGS)
    assert (begun.generation, begun.ends) == (1, 1000.0)
    token = TOKENS.write(begun)
    assert TOKENS.read(token) == Presented(begun.id, 1)
    assert token == TOKENS.write(begun)
    rotated = decide(begun, 1, 1.0, SETTINGS)
    assert isinstance(rotated, Rotated)
    assert TOKENS.write(rotated.family) != token
    assert begin(0.0, SETTINGS).id != begun.id


def test_keys_rotate() -> None:
    token = TOKENS.write(family())
    later = RefreshTokens(SharedKeys({"a": b"a" * 32, "b": b"b" * 32}, "b"))
    assert later.read(token) == Presented("f", 5)
    with pytest.raises(Fault, match="not known"):
        RefreshTokens(SharedKeys({"b": b"b" * 32}, "b")).read(token)


def test_every_changed_character_is_noticed() -> None:
    token = TOKENS.write(family())
    texts = [token[:i] + ("0" if c != "0" else "1") + token[i + 1 :] for i, c in enumerate(token)]
    for text in (*texts, "", "....", token + ".", token[:-1], "é", "x" * 600, "\ud800"):
        with pytest.raises(Fault) as caught:
            TOKENS.read(text)
        assert caught.value.code is Code.UNAUTHENTICATED
