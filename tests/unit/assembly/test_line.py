"""Frames, and the topology that travels in them."""

import asyncio
from typing import Any

import msgspec
import pytest

from switchgear.assembly.line import FRAME_BYTES, Frames, Line, frame
from switchgear.assembly.messages import (
    Beat,
    Degraded,
    Downward,
    Drain,
    Failed,
    Feed,
    Loaded,
    Ready,
    Start,
    Upward,
)
from switchgear.assembly.topology import Endpoint, State, Topology, TopologyFeed

SERVICE = Endpoint("service", 1, "unix:/run/s", State.READY, 3, ("database: away",))


def test_frames_come_out_however_the_bytes_were_cut() -> None:
    payloads = [b"", b"x", b"y" * 70_000]
    stream = b"".join(map(frame, payloads))
    for size in (1, 3, 4, 5, 4096, len(stream)):
        frames = Frames()
        found = []
        for start in range(0, len(stream), size):
            found += frames.feed(stream[start : start + size])
        assert found == payloads


def test_a_frame_that_is_too_long_is_refused_by_both_sides() -> None:
    with pytest.raises(ValueError, match="the most"):
        Frames().feed((FRAME_BYTES + 1).to_bytes(4, "big"))
    with pytest.raises(ValueError, match="the most"):
        frame(b"x" * (FRAME_BYTES + 1))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Downward, Start({"url": "postgresql://"})),
        (Downward, Feed(Topology(7, (SERVICE,)))),
        (Downward, Drain(2.5)),
        (Upward, Loaded()),
        (Upward, Beat(1, 2.5, 3, 0.001)),
        (Upward, Ready("unix:/run/s")),
        (Upward, Degraded(("database: away",))),
        (Upward, Failed("no", "trace")),
    ],
)
def test_every_message_survives_the_line(kind: Any, message: msgspec.Struct) -> None:
    assert msgspec.json.decode(msgspec.json.encode(message), type=kind) == message


class Transport(asyncio.Transport):
    """What a line writes to in a unit test."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[object] = []
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += [msgspec.json.decode(one) for one in Frames().feed(bytes(data))]

    def abort(self) -> None:
        self.aborted = True


def opened(taken: list[object] | None = None) -> tuple[Line[Upward], Transport]:
    line: Line[Upward] = Line(Upward, ([] if taken is None else taken).append, on_lost=lambda: None)
    transport = Transport()
    line.connection_made(transport)
    return line, transport


def test_a_line_without_room_drops_beats_and_keeps_the_latest_state() -> None:
    line, transport = opened()
    line.pause_writing()
    assert not line.send(Beat(1, 1, 1, 1))
    line.put(Ready("a"))
    line.put(Ready("b"))
    line.put(Degraded(("x",)))
    assert transport.sent == []
    line.resume_writing()
    assert transport.sent == [
        {"type": "ready", "address": "b"},
        {"type": "degraded", "reasons": ["x"]},
    ]


def test_what_is_put_before_the_line_is_open_is_sent_when_it_is() -> None:
    line: Line[Upward] = Line(Upward, print, on_lost=lambda: None)
    line.put(Loaded())
    transport = Transport()
    line.connection_made(transport)
    assert transport.sent == [{"type": "loaded"}]


def test_a_line_that_was_cut_while_opening_does_not_open() -> None:
    line: Line[Upward] = Line(Upward, print, on_lost=lambda: None)
    line.cut()
    transport = Transport()
    line.connection_made(transport)
    assert transport.aborted


@pytest.mark.parametrize("garbage", [b"\xff" * 8, frame(b"{}"), frame(b'{"type":"other"}')])
def test_whoever_sends_garbage_is_cut_off(garbage: bytes) -> None:
    taken: list[object] = []
    line, transport = opened(taken)
    line.data_received(garbage)
    assert transport.aborted
    assert taken == []


def test_a_feed_shows_the_present_and_then_every_newer_topology() -> None:
    feed = TopologyFeed(Topology(1))
    seen: list[int] = []
    unsubscribe = feed.subscribe(lambda topology: seen.append(topology.version))
    for version in (2, 5, 4, 5, 6):
        feed.put(Topology(version))
    unsubscribe()
    unsubscribe()
    feed.put(Topology(7))
    assert seen == [1, 2, 5, 6]
    assert feed.current.version == 7


def test_a_topology_is_asked_by_role() -> None:
    other = Endpoint("accounts", 1, "unix:/run/a", State.STARTING)
    topology = Topology(1, (SERVICE, other))
    assert topology.of("service") == (SERVICE,)
    assert topology.of("nothing") == ()
    assert SERVICE.label == "service-1"
