"""Internal tokens: for this request, from one of ours, for half a minute."""

import hashlib
from typing import Any

import pytest

from switchgear.identity.internal import InternalTokens, Vouched
from switchgear.identity.shared import SharedKeys
from switchgear.policy.call import Principal
from switchgear.policy.fault import Code, Fault

OLD, NEW = b"o" * 32, b"n" * 80
NOW = 1_800_000_000.0
ADA = Vouched(Principal("ada", "acme", frozenset({"user:write"})))
REQUEST = ("users", "POST", "/users?x=1", "0af7651916cd43dd8448eb211c80319c")


def tokens(current: str = "new", **options: Any) -> InternalTokens:
    return InternalTokens(SharedKeys({"old": OLD, "new": NEW}, current), **options)


def refused(token: str, *request: str, now: float = NOW) -> str:
    with pytest.raises(Fault) as caught:
        tokens().verify(token, *(request or REQUEST), now)  # type: ignore[call-arg, arg-type]  # a tuple of its arguments
    assert caught.value.code is Code.UNAUTHENTICATED
    return caught.value.detail


@pytest.mark.parametrize(
    "vouched", [ADA, Vouched(), Vouched(exempt=True), Vouched(Principal("é\0\n", "t" * 300))]
)
def test_what_is_vouched_for_arrives(vouched: Vouched) -> None:
    minted = tokens().mint(vouched, *REQUEST, NOW)
    assert minted.isascii()
    assert tokens().verify(minted, *REQUEST, NOW + 29.9) == vouched
    assert tokens().verify(minted, *REQUEST, NOW) == vouched


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("other", ["", "x", "users", "GET"])
def test_it_serves_no_other_request(index: int, other: str) -> None:
    changed = list(REQUEST)
    if changed[index] == other:
        return
    changed[index] = other
    minted = tokens().mint(ADA, *REQUEST, NOW)
    assert "does not fit" in refused(minted, *changed)


def test_parts_of_a_request_cannot_be_shifted_into_each_other() -> None:
    minted = tokens().mint(ADA, "a", "b", "c", "d", NOW)
    for request in (("ab", "", "c", "d"), ("a", "bc", "", "d"), ("", "a", "b", "cd")):
        assert "does not fit" in refused(minted, *request)
    assert "NUL" in refused(minted, "a", "b\0c", "", "d")
    with pytest.raises(Fault, match="NUL"):
        tokens().mint(ADA, "a\0b", "c", "d", "e", NOW)


def test_it_ends_after_thirty_seconds_and_lives_no_longer_by_a_clock_that_is_ahead() -> None:
    minted = tokens().mint(ADA, *REQUEST, NOW)
    assert "expired" in refused(minted, now=NOW + 30)
    assert "clocks differ" in refused(minted, now=NOW - 2.1)
    assert tokens().verify(minted, *REQUEST, NOW - 1.9) == ADA
    short = tokens(lifetime=1.0).mint(ADA, *REQUEST, NOW)
    assert "expired" in refused(short, now=NOW + 1)


def test_every_changed_character_is_noticed() -> None:
    minted = tokens().mint(ADA, *REQUEST, NOW)
    for index, letter in enumerate(minted):
        changed = minted[:index] + ("A" if letter != "A" else "B") + minted[index + 1 :]
        assert refused(changed)


@pytest.mark.parametrize("text", ["", ".", "...", "new", "new.1.e30=.", "é", "\ud800", "x" * 9000])
def test_what_is_no_token_is_refused(text: str) -> None:
    assert refused(text)


def test_keys_rotate() -> None:
    minted = tokens("old").mint(ADA, *REQUEST, NOW)
    assert minted.startswith("old.")
    assert tokens("new").verify(minted, *REQUEST, NOW) == ADA
    gone = InternalTokens(SharedKeys({"new": NEW}, "new"))
    with pytest.raises(Fault, match="is not known"):
        gone.verify(minted, *REQUEST, NOW)
    other = InternalTokens(SharedKeys({"old": b"x" * 32}, "old"))
    with pytest.raises(Fault, match="does not fit"):
        other.verify(minted, *REQUEST, NOW)


@pytest.mark.parametrize(("name", "key"), [("old", OLD), ("new", NEW)])
def test_the_seal_is_plain_keyed_blake2b(name: str, key: bytes) -> None:
    stem, _, seal = tokens(name).mint(ADA, *REQUEST, NOW).rpartition(".")
    service, method, path, request_id = REQUEST
    text = "\0".join((stem, service, method, request_id, path))
    short = hashlib.blake2b(key).digest() if len(key) > 64 else key  # as an HMAC has it
    by_hand = hashlib.blake2b(text.encode(), key=short, digest_size=32, person=b"switchgear int 1")
    assert seal == by_hand.hexdigest()


def test_a_path_may_hold_what_it_will_and_stands_for_nothing_else() -> None:
    """It comes last in what is sealed: no part of it can be taken for another's."""
    minted = tokens().mint(ADA, "a", "b", "c\0d", "e", NOW)
    assert tokens().verify(minted, "a", "b", "c\0d", "e", NOW) == ADA
    for other in (("a", "b", "c", "e"), ("a", "b", "d", "e"), ("a", "b", "d", "e\0c")):
        assert refused(minted, *other)


def test_the_lifetime_is_bounded() -> None:
    for lifetime in (0.0, -1.0, 30.1):
        with pytest.raises(ValueError, match="lives up to 30 s"):
            tokens(lifetime=lifetime)


def test_the_memories_are_bounded() -> None:
    mint, check = tokens(), tokens()
    for number in range(5000):
        minted = mint.mint(Vouched(Principal(str(number))), *REQUEST, NOW)
        check.verify(minted, *REQUEST, NOW)
    assert len(mint._written) <= 4096
    assert len(check._read) <= 4096
