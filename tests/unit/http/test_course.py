"""Courses of sessions that pass through: tiny frames are looked at in turns, and not read ahead."""

import asyncio
from typing import Any

import pytest

from switchgear.http.boundary import AT_ONCE
from switchgear.http.corked import Corked, corked
from switchgear.http.course import Course
from switchgear.http.frames import PING, TEXT, encode
from switchgear.http.tunnel import Relay
from tests.support.transport import Transport

TINY = encode(PING, b"", masked=False)
MANY = 10 * AT_ONCE + 1


class Side(Transport):
    """A side of a session: what it is sent is kept."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # who speaks on it is set by a relay
        self.sent = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True


def side() -> tuple[Side, Corked]:
    raw = Side()
    return raw, corked(raw, asyncio.get_running_loop())


async def turns_until_read(raw: Side) -> int:
    turns = 0
    while not raw.reading:
        await asyncio.sleep(0)
        turns += 1
        assert turns < MANY
    return turns


async def test_others_have_their_turn_among_tiny_frames() -> None:
    raw, transport = side()
    told: list[bool] = []
    course = Course(transport, lambda: told.append(course.here), held=False)
    course.take(TINY * AT_ONCE)
    assert raw.reading
    assert course.here
    course.take(TINY * MANY + TINY[:1])
    assert not raw.reading
    assert not course.here
    assert await turns_until_read(raw) >= MANY // AT_ONCE
    assert told == [False]  # a frame has begun
    course.take(TINY[1:])
    assert course.here


async def test_what_comes_all_the_same_is_looked_at_behind_the_rest() -> None:
    raw, transport = side()
    course = Course(transport, lambda: None, held=False)
    course.take(TINY * MANY + b"\x82\x05he")
    course.take(b"llo" + TINY * MANY)  # the loop had read it already
    assert await turns_until_read(raw) >= 2 * MANY // AT_ONCE - 2
    assert course.here


async def test_who_has_caught_up_waits_for_the_other_side_all_the_same() -> None:
    raw, transport = side()
    course = Course(transport, lambda: None, held=True)
    assert not raw.reading
    course.take(TINY * MANY)
    course.let_go()
    assert not raw.reading  # we are behind
    course.hold()
    while not course.here:
        await asyncio.sleep(0)
    assert not raw.reading  # the other side is slow
    course.let_go()
    assert raw.reading


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_course_that_is_over_is_looked_at_no_further(leaves: bool) -> None:
    raw, transport = side()
    told: list[bool] = []
    course = Course(transport, lambda: told.append(True), held=False)
    course.take(TINY * MANY)
    if leaves:
        course.leave()
    else:
        course.end()
    assert raw.reading is not leaves
    for _ in range(MANY // AT_ONCE + 2):
        await asyncio.sleep(0)
    course.take(TINY * MANY)
    assert raw.reading is not leaves
    assert told == []


async def joined() -> tuple[Side, Side, Relay]:
    far, upstream = side()
    near, client = side()
    relay = Relay(upstream, b"")
    assert not far.reading  # until there is a client
    relay.attach(client, lambda: None)
    assert far.reading
    return near, far, relay


@pytest.mark.parametrize("clients", [True, False])
async def test_either_side_of_a_session_waits_for_its_turn(clients: bool) -> None:
    near, far, relay = await joined()
    sender, taker = (near, far) if clients else (far, near)
    speaker: Any = relay if clients else far.protocol
    speaker.data_received(TINY * MANY)
    assert not sender.reading
    assert taker.reading
    assert await turns_until_read(sender) >= MANY // AT_ONCE
    assert taker.sent == TINY * MANY
    relay.abandon()


async def test_the_leave_is_taken_between_frames_that_were_looked_at_late() -> None:
    near, far, relay = await joined()
    message = encode(TEXT, b"hello", masked=False)
    speaker: Any = far.protocol
    speaker.data_received(TINY * MANY + message[:3])
    relay.drain()
    await turns_until_read(far)
    assert not relay.over
    speaker.data_received(message[3:] + TINY * MANY)
    while not relay.over:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert near.sent.startswith(TINY * MANY + message + TINY * MANY + b"\x88")
