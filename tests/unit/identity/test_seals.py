"""Seals: what one of ours wrote, for this purpose, just now."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.identity.seals import Seals
from switchgear.identity.shared import SharedKeys

NOW = 1_800_000_000.0
KEYS = {"old": b"o" * 32, "new": b"n" * 80}
TEXT = '{"code":"aborted","detail":"a.b.c"}'


def seals(current: str = "new", purpose: str = "fault", lifetime: float = 30.0) -> Seals:
    return Seals(SharedKeys(KEYS, current), purpose, lifetime)


@pytest.mark.parametrize("text", [TEXT, "", ".", "...", "x" * 8192])
def test_what_is_sealed_opens(text: str) -> None:
    sealed = seals().seal(text, NOW)
    assert sealed.isascii()
    assert seals().unseal(sealed, NOW) == text
    assert seals().unseal(sealed, NOW + 29.9) == text


def test_the_form_and_the_seal_are_plain() -> None:
    until = str(int((NOW + 30) * 1000))
    words = "\0".join(("switchgear seal 1", "fault", "new", until, TEXT))
    mark = hmac.digest(KEYS["new"], words.encode(), "sha256").hex()
    assert seals().seal(TEXT, NOW) == f"new.{until}.{mark}.{TEXT}"


def test_every_changed_character_is_noticed() -> None:
    sealed = seals().seal(TEXT, NOW)
    for index, letter in enumerate(sealed):
        changed = sealed[:index] + ("A" if letter != "A" else "B") + sealed[index + 1 :]
        assert seals().unseal(changed, NOW) is None


def test_it_opens_for_its_purpose_alone() -> None:
    assert seals(purpose="other").unseal(seals().seal(TEXT, NOW), NOW) is None
    assert seals(purpose="").unseal(seals().seal(TEXT, NOW), NOW) is None


def test_it_ends_and_lives_no_longer_by_a_clock_that_is_ahead() -> None:
    sealed = seals().seal(TEXT, NOW)
    assert seals().unseal(sealed, NOW + 30) is None
    assert seals().unseal(sealed, NOW - 1.9) == TEXT
    assert seals().unseal(sealed, NOW - 2.1) is None
    short = seals(lifetime=1.0).seal(TEXT, NOW)
    assert seals().unseal(short, NOW + 0.9) == TEXT
    assert seals().unseal(short, NOW + 1) is None


def test_keys_rotate() -> None:
    sealed = seals("old").seal(TEXT, NOW)
    assert sealed.startswith("old.")
    assert seals("new").unseal(sealed, NOW) == TEXT
    gone = Seals(SharedKeys({"new": KEYS["new"]}, "new"), "fault")
    assert gone.unseal(sealed, NOW) is None
    other = Seals(SharedKeys({"old": b"x" * 32}, "old"), "fault")
    assert other.unseal(sealed, NOW) is None


@given(st.text(st.characters()))
def test_what_nobody_sealed_does_not_open(text: str) -> None:
    assert seals().unseal(text, NOW) is None
    assert seals().unseal(f"new.{text}", NOW) is None
    assert seals().unseal(f"new.1.{text}", NOW) is None


def test_only_so_much_is_looked_at() -> None:
    room = (16 << 10) - len(seals().seal("", NOW))
    assert seals().unseal(seals().seal("x" * room, NOW), NOW) == "x" * room
    assert seals().unseal(seals().seal("x" * (room + 1), NOW), NOW) is None


def test_only_ascii_is_sealed() -> None:
    with pytest.raises(ValueError, match="only ASCII is sealed"):
        seals().seal("\xe9", NOW)


def test_the_lifetime_is_bounded() -> None:
    for lifetime in (0.0, -1.0, 30.1):
        with pytest.raises(ValueError, match="lives up to 30 s"):
            seals(lifetime=lifetime)
