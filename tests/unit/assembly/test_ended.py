"""What a gateway makes of what it is told of ended sessions, page by page."""

from collections.abc import Callable

import msgspec

from switchgear.accounts.surface import Ended
from switchgear.assembly.bodies.ended import EndedSessions
from switchgear.identity.revocations import Revocations
from switchgear.policy.fault import Code, Fault
from switchgear.telemetry.logs import Log
from switchgear.telemetry.writer import LogWriter
from tests.support.bodies import Lines

NOW = 1000.0


class Accounts:
    """Answers in order, and keeps what was asked."""

    def __init__(self, *answers: Ended | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, query: str) -> bytes:
        self.asked.append(query)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return msgspec.json.encode(answer)


def page(*sessions: tuple[str, float], since: float = 0.0, full: bool = False) -> Ended:
    return Ended(list(sessions), since, sessions[-1][0] if sessions else "", full)


def following(
    accounts: Accounts, leeway: float = 0.0
) -> tuple[EndedSessions, Revocations, Callable[[], int]]:
    revocations, lines = Revocations(), Lines()
    writer = LogWriter(lines)
    ended = EndedSessions(accounts, revocations, Log(writer, "test"), leeway, lambda: NOW)

    def told() -> int:
        writer.flush(5.0)
        return len(lines.of("ended sessions are not heard of"))

    return ended, revocations, told


async def test_page_after_page_is_read_and_the_next_look_begins_a_little_earlier() -> None:
    accounts = Accounts(
        page(("a", NOW + 1), ("b", NOW + 1), since=500.5, full=True),
        page(("c", NOW + 1), since=600.25),
        page(since=540.25),
    )
    ended, revocations, told = following(accounts)
    await ended.look()
    assert all(revocations.covers(name, NOW) for name in "abc")
    await ended.look()
    assert accounts.asked == ["since=0.0&after=", "since=500.5&after=b", "since=540.25&after="]
    assert told() == 0


async def test_a_session_is_remembered_for_as_long_as_its_tokens_are_accepted() -> None:
    accounts = Accounts(page(("late", NOW - 5), ("over", NOW - 15)))
    ended, revocations, _ = following(accounts, leeway=10.0)
    await ended.look()
    assert revocations.covers("late", NOW)
    assert not revocations.covers("over", NOW)


async def test_whatever_fails_is_told_once_and_asked_again() -> None:
    failures = [Fault(Code.UNAVAILABLE, "away"), msgspec.ValidationError("no page"), KeyError("x")]
    heard = page(("a", NOW + 1), since=1.0)
    accounts = Accounts(*failures, *failures, heard, *failures[:2], heard, *failures)
    ended, revocations, told = following(accounts)
    for _ in failures * 2:
        await ended.look()
    assert told() == 1
    await ended.look()
    assert revocations.covers("a", NOW)
    for _ in range(3):  # as many as accounts that start anew may be away
        await ended.look()
    assert told() == 1
    for _ in failures:
        await ended.look()
    assert told() == 2
    assert accounts.answers == []
