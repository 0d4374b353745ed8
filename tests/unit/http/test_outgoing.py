"""Outgoing bodies: what is framed anew keeps the rules that the next hop has for it."""

import asyncio
from types import SimpleNamespace

import pytest

from switchgear.http.bodies import Chunks
from switchgear.http.heads import CHUNKED
from switchgear.http.outgoing import Outgoing
from switchgear.http.stream import Stream


class Wire(bytearray):
    def write(self, data: bytes) -> None:
        self.extend(data)


def sending(wire: Wire) -> tuple[Outgoing, Stream]:
    upstream = SimpleNamespace(transport=wire, blocked=False, sent=lambda: None)
    feeder = SimpleNamespace(wanted=lambda: None, abandoned=lambda: None)
    body = Stream(feeder, None, 1 << 20)
    outgoing = Outgoing(upstream, body)  # type: ignore[arg-type]  # by its methods
    assert outgoing._left == CHUNKED
    outgoing.start(b"")
    return outgoing, body


def read(wire: Wire) -> tuple[bytes, bool]:
    """Read it as the next hop does, which refuses a row of tiny chunks."""
    reader = Chunks()
    payload, _ = reader.feed(bytes(wire).partition(b"\r\n\r\n")[2])
    while reader.more:
        payload += reader.feed(b"")[0]
    return payload, reader.done


@pytest.mark.pure
@pytest.mark.parametrize("size", [1, 4, 15, 100])
async def test_a_chunk_that_comes_in_tiny_pieces_is_no_row_of_tiny_chunks(size: int) -> None:
    wire = Wire()
    _, body = sending(wire)
    for _ in range(20_000):
        body.feed(b"x" * size)
    body.finish()
    assert read(wire) == (b"x" * size * 20_000, True)


@pytest.mark.pure
async def test_what_is_held_goes_on_soon_whoever_waits_for_its_answer() -> None:
    wire = Wire()
    outgoing, body = sending(wire)
    for _ in range(5_000):
        body.feed(b"x")
    body.feed(b"last")
    assert len(read(wire)[0]) < 5_004
    await asyncio.sleep(0.05)
    assert read(wire) == (b"x" * 5_000 + b"last", False)
    body.feed(b"y")
    outgoing.drop()
    await asyncio.sleep(0.05)
    assert read(wire) == (b"x" * 5_000 + b"last", False), "nothing follows what was cut"
