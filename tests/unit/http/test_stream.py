"""Streams: bounded, held back both ways, ended once with the truth."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from switchgear.http.message import Response, StreamResponse
from switchgear.http.refusals import reason_of, status_of
from switchgear.http.stream import EMPTY, Produced, Stream, Whole
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict

pytestmark = pytest.mark.virtual


class Feeder:
    def __init__(self) -> None:
        self.log: list[str] = []

    def pause(self) -> None:
        self.log.append("pause")

    def resume(self) -> None:
        self.log.append("resume")

    def wanted(self) -> None:
        self.log.append("wanted")

    def abandoned(self) -> None:
        self.log.append("abandoned")


class Sink:
    def __init__(self, stream: Stream, hold_after: int = 1 << 30) -> None:
        self.stream = stream
        self.got = b""
        self.ends: list[Exception | None] = []
        self.hold_after = hold_after

    def write(self, data: bytes) -> None:
        self.got += data
        if len(self.got) >= self.hold_after:
            self.stream.hold()

    def end(self, error: Exception | None) -> None:
        self.ends.append(error)


def stream(high: int = 100) -> tuple[Stream, Feeder, list[Verdict]]:
    feeder = Feeder()
    made = Stream(feeder, None, high)
    verdicts: list[Verdict] = []
    made.on_end(verdicts.append)
    return made, feeder, verdicts


async def test_what_nobody_takes_pauses_the_feeder() -> None:
    body, feeder, _ = stream()
    body.feed(b"x" * 100)
    assert feeder.log == []
    body.feed(b"x")
    body.feed(b"x")
    assert feeder.log == ["pause"]
    assert body.idle
    assert await body.chunk() == b"x" * 100
    assert feeder.log == ["pause", "resume"]
    body.finish()
    assert await body.read() == b"xx"


@pytest.mark.parametrize("end", [Stream.finish, lambda one: one.fail(Fault(Code.CANCELLED))])
async def test_a_feeder_that_has_done_is_asked_nothing_more(end: Callable[[Stream], None]) -> None:
    """It may feed another by now, of whom nothing is read for the moment."""
    body, feeder, _ = stream()
    body.feed(b"x" * 101)
    end(body)
    body.pipe(Sink(body)) if body._error else await body.read()
    body.hold()
    body.release()
    assert feeder.log == ["pause"]


async def test_a_reader_is_woken_by_a_piece_an_end_or_a_cut() -> None:
    body, feeder, verdicts = stream()
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    assert feeder.log == ["wanted"]
    body.feed(b"ab")
    await asyncio.sleep(0)
    body.finish()
    assert await reading == b"ab"
    assert verdicts == [GOOD]

    body, _, verdicts = stream()
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    body.feed(b"ab")
    body.fail(Fault(Code.UNAVAILABLE, "cut"))
    body.fail(Fault(Code.INTERNAL, "again"))
    with pytest.raises(Fault, match="cut"):
        await reading
    assert [verdict.health for verdict in verdicts] == [BAD.health]


async def test_a_piped_stream_wakes_nobody_and_is_held_by_its_sink() -> None:
    body, feeder, verdicts = stream()
    sink = Sink(body, hold_after=30)
    body.feed(b"a" * 10)
    body.pipe(sink)
    body.feed(b"b" * 20)
    assert sink.got == b"a" * 10 + b"b" * 20
    assert feeder.log == ["wanted", "pause"]
    body.feed(b"c" * 5)
    body.finish()
    assert sink.got.count(b"c") == 0
    assert sink.ends == []
    sink.hold_after = 1 << 30
    body.release()
    assert sink.got.endswith(b"ccccc")
    assert sink.ends == [None]
    assert verdicts == [GOOD]


async def test_a_pipe_that_is_drained_at_once_lets_the_feeder_go_on() -> None:
    body, feeder, _ = stream()
    body.feed(b"x" * 200)
    assert feeder.log == ["pause"]
    body.pipe(Sink(body))
    assert feeder.log == ["pause", "wanted", "resume"]
    body.finish()


async def test_a_cut_is_told_to_the_sink() -> None:
    body, _, _ = stream()
    sink = Sink(body)
    body.pipe(sink)
    cut = Fault(Code.UNAVAILABLE, "cut")
    body.fail(cut)
    body.fail(Fault(Code.INTERNAL))
    assert sink.ends == [cut]


async def test_abandoning_is_neutral_and_told_once() -> None:
    body, feeder, verdicts = stream()
    body.feed(b"x")
    body.abandon()
    body.abandon()
    assert feeder.log == ["abandoned"]
    assert verdicts == [NEUTRAL]
    late: list[Verdict] = []
    body.on_end(late.append)
    assert late == [NEUTRAL]
    with pytest.raises(Fault):
        await body.chunk()


async def test_abandoning_what_has_ended_changes_nothing() -> None:
    body, feeder, verdicts = stream()
    body.feed(b"x")
    body.finish()
    body.abandon()
    assert feeder.log == []
    assert verdicts == [GOOD]


async def test_a_limit_is_413_and_abandons_the_rest() -> None:
    body, feeder, _ = stream()
    body.feed(b"x" * 11)
    with pytest.raises(Fault) as caught:
        await body.read(10)
    assert status_of(caught.value) == 413
    assert feeder.log == ["abandoned"]
    announced = Stream(Feeder(), 11, 100)
    with pytest.raises(Fault):
        await announced.read(10)
    with pytest.raises(Fault):
        await Whole(b"x" * 11).read(10)
    assert await Whole(b"x" * 10).read(10) == b"x" * 10


async def test_a_whole_body_can_be_read_again_but_is_iterated_once() -> None:
    body = Whole(b"abc")
    assert [part async for part in body] == [b"abc"]
    assert [part async for part in body] == []
    assert await body.read() == b"abc"
    assert [part async for part in EMPTY] == []


async def test_a_produced_body_ends_with_the_truth() -> None:
    async def make(error: BaseException | None) -> AsyncIterator[bytes]:
        yield b"a"
        yield b""
        yield b"b"
        if error is not None:
            raise error

    for error, end in (
        (None, GOOD),
        (ZeroDivisionError(), BAD),
        (Fault(Code.CANCELLED), NEUTRAL),
        (asyncio.CancelledError(), BAD),  # nobody called it off
        (SystemExit(2), BAD),
        (GeneratorExit(), BAD),
    ):
        verdicts: list[Verdict] = []
        body = Produced(make(error))
        body.on_end(verdicts.append)
        if error is None:
            assert await body.read() == b"ab"
        else:
            with pytest.raises(type(error) if isinstance(error, Exception) else RuntimeError):
                await body.read()
        await body.close()
        assert verdicts == [end]


async def test_a_produced_body_that_is_called_off_is_nobodys_fault() -> None:
    async def make() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(10)

    body = Produced(make())
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert body.verdict == NEUTRAL


async def test_a_produced_body_that_is_closed_early_cleans_up() -> None:
    cleaned = False

    async def make() -> AsyncIterator[bytes]:
        nonlocal cleaned
        try:
            yield b"a"
            yield b"b"
        finally:
            cleaned = True

    body = Produced(make())
    assert await body.chunk() == b"a"
    await body.close()
    assert cleaned
    assert body.verdict == NEUTRAL
    assert await body.chunk() == b""


@pytest.mark.parametrize("body", [[b"a"], (piece for piece in [b"a"]), b"a", list])
def test_what_is_no_async_iterator_is_refused_before_the_answer_begins(body: Any) -> None:
    kind = type(body).__name__
    with pytest.raises(TypeError, match=f"an async iterator of bytes, and a {kind} is none"):
        StreamResponse.of(body)


@pytest.mark.parametrize(
    ("piece", "kind"), [("text", "str"), ("", "str"), (None, "None"), (0, "int")]
)
async def test_a_piece_that_is_no_bytes_is_told_by_its_type(piece: Any, kind: str) -> None:
    async def make() -> AsyncIterator[Any]:
        yield b""
        yield piece

    body = Produced(make())
    with pytest.raises(TypeError, match=rf"bytes.*{kind}"):
        await body.chunk()
    assert body.verdict == BAD


async def test_an_answer_is_read_whole_within_its_limit() -> None:
    assert await Response(200, body=b"[1]").json(list[int]) == [1]
    body, _, _ = stream()
    body.feed(b"x" * 11)
    body.finish()
    with pytest.raises(Fault) as caught:
        await StreamResponse(200, body=body).read(10)
    assert caught.value.code is Code.UNAVAILABLE
    assert reason_of(caught.value) == ""


@pytest.mark.parametrize("reading", [False, True])
async def test_tiny_pieces_weigh_little_more_than_their_bytes(reading: bool) -> None:
    """Rule 26: 16 KiB and four times what was sent."""
    stream = Stream(Feeder(), None, 1 << 20)
    reader = asyncio.create_task(stream.read()) if reading else None
    await asyncio.sleep(0)
    tracemalloc.start()
    try:
        for turn in range(30_000):
            stream.feed(bytes(bytearray(b"xy")))
            if reading and turn % 32 == 0:
                await asyncio.sleep(0)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < (16 << 10) + 4 * 60_000
    stream.finish()
    assert await (reader or stream.read()) == b"xy" * 30_000


async def test_a_body_that_is_read_again_waits_for_a_sink_that_is_behind() -> None:
    """It is left to reading with more than its sink takes at once: the feeder goes on later."""
    body, feeder, _ = stream()
    sink = Sink(body)
    body.pipe(sink)
    body.hold()
    assert feeder.log == ["wanted", "pause"]
    body.untap(sink)
    assert "resume" not in feeder.log
    body.release()
    assert feeder.log[-1] == "resume"
    body.untap(sink)
    assert feeder.log.count("resume") == 2
