"""Revocations: bounded, and never forgetful before their time."""

from collections.abc import Callable

import pytest

from switchgear.identity.revocations import Revocations


def test_a_session_is_refused_and_others_are_not() -> None:
    held = Revocations()
    held.revoke("a", until=100.0, now=0.0)
    assert held.covers("a", issued=50.0)
    assert not held.covers("b", issued=50.0)
    assert not held.covers("", issued=50.0)


def test_what_has_expired_anyway_is_not_kept() -> None:
    held = Revocations()
    held.revoke("a", until=10.0, now=10.0)
    assert len(held) == 0


def test_a_later_end_wins() -> None:
    held = Revocations(limit=1)
    held.revoke("a", until=100.0, now=0.0)
    held.revoke("a", until=50.0, now=0.0)
    held.revoke("b", until=200.0, now=60.0)  # would have room if "a" had ended at 50
    assert held.covers("a", issued=10.0)


def test_expired_entries_make_room() -> None:
    held = Revocations(limit=2)
    held.revoke("a", until=10.0, now=0.0)
    held.revoke("b", until=100.0, now=0.0)
    held.revoke("c", until=100.0, now=20.0)
    assert len(held) == 2
    assert not held.covers("x", issued=5.0)


def test_when_full_every_older_token_is_refused_instead_of_reviving_one() -> None:
    held = Revocations(limit=2)
    for name in "abc":
        held.revoke(name, until=100.0, now=20.0)
    assert all(held.covers(name, issued=15.0) for name in "abcxyz")
    assert not held.covers("x", issued=20.1)
    assert len(held) == 0


def test_all_sessions_can_be_ended() -> None:
    held = Revocations()
    held.revoke_all(50.0)
    held.revoke_all(40.0)
    assert held.covers("anyone", issued=50.0)
    assert not held.covers("anyone", issued=50.1)


def test_a_token_without_a_session_cannot_be_revoked_by_name() -> None:
    with pytest.raises(ValueError, match="without a name"):
        Revocations().revoke("", until=1.0, now=0.0)


def test_what_outlasts_its_token_ends_with_its_session_and_with_no_other() -> None:
    held = Revocations()
    ended: list[str] = []

    def ending(name: str) -> Callable[[], None]:
        def end() -> None:
            ended.append(name)
            held.forget(name[0], end)  # as what has ended tells

        held.outlast(name[0], end)
        return end

    ends = [ending(name) for name in ("a1", "a2", "a3", "b1")]
    held.forget("a", ends[1])
    held.revoke("c", until=100.0, now=0.0)
    assert ended == []
    held.revoke("a", until=5.0, now=10.0)  # whose tokens have expired already
    assert ended == ["a1", "a3"]
    held.revoke("a", until=100.0, now=10.0)
    held.revoke_all(50.0)  # who has another token may go on
    assert ended == ["a1", "a3"]
    ending("a4")
    held.forget("a", ends[0])  # late, and of those before
    held.forget("b", ends[3])
    held.revoke("b", until=100.0, now=10.0)
    assert ended == ["a1", "a3"]
