"""The target for a server's connection: from the bytes of a client to the bytes of the answers."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from fuzz.cuts import pieces, reader
from fuzz.peers import Answer, answers_and_refusal, requests_h11
from fuzz.world import SERVER, connected, drive, settle, turns
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response, StreamResponse
from switchgear.http.server import Drive
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault

__all__ = ["server"]

REFUSALS = frozenset((400, 408, 413, 414, 417, 431, 505))


class Heard(NamedTuple):
    """What was made of a row of bytes."""

    begun: list[str]  # the methods of the requests that reached the handler
    read: list[tuple[str, str, bytes]]  # those whose body was read whole
    sent: bytes


def server(data: bytes) -> None:
    """Serve bytes: answers in order and well formed, and the end after a refusal."""
    (how, flavour), data = reader(data, 2)
    end = flavour & 3
    whole = drive(_serve([data] if data else [], flavour))
    cut = drive(_serve(pieces(how, data), flavour))
    for heard in (whole, cut):
        _check(heard, data, stayed=not end)
    if end:
        return  # who leaves gets what was ready, and the rest is called off
    if flavour & 12 == 12:  # nobody reads the bodies: what came with the head decides what follows
        shared = min(len(whole.begun), len(cut.begun))
        assert whole.begun[:shared] == cut.begun[:shared]
        return
    assert cut.read == whole.read, "the cuts have changed what was read"
    assert _statuses(cut, data) == _statuses(whole, data), "the cuts have changed what was answered"


def _check(heard: Heard, data: bytes, *, stayed: bool) -> None:
    answers, after = _answers(heard, data)
    assert after == "" or (not stayed and after == "cut"), (after, heard.sent)
    # Each request that was begun has its answer, in order, and at most one refusal is the last.
    numbers = [int(dict(answer.headers)[b"x-number"]) for answer in answers if answer.status == 200]
    assert numbers == sorted(numbers)
    assert len(numbers) == len(set(numbers))
    extra = len(answers) - len(heard.begun)
    assert extra <= 1, (answers, heard.begun)
    for at, answer in enumerate(answers):
        if answer.status in REFUSALS:
            assert at == len(answers) - 1, "something was answered after a refusal"
            assert (b"connection", b"close") in answer.headers
        else:
            assert answer.status in (200, 500), answer.status
    assert extra < 1 or answers[-1].status in REFUSALS
    # Who reads more leniently must see the same requests in these bytes, as far as it reads.
    theirs, _ = requests_h11(data, strict=False)
    for ours, other in zip(heard.read, theirs, strict=False):
        assert ours == (other.method.decode(), other.target.decode(), other.body), (ours, other)


def _answers(heard: Heard, data: bytes) -> tuple[list[Answer], str]:
    return answers_and_refusal(heard.sent, heard.begun, data)


def _statuses(heard: Heard, data: bytes) -> list[int]:
    """Return the statuses, but which of two broken rules was named may hang on what came first."""
    answers, _ = _answers(heard, data)
    return [0 if answer.status in REFUSALS else answer.status for answer in answers]


async def _serve(given: list[bytes], flavour: int) -> Heard:
    begun: list[str] = []
    read: list[tuple[str, str, bytes]] = []

    async def handler(call: Call[Request]) -> Response:
        request = call.payload
        number = {"x-number": str(len(begun))}
        begun.append(request.method)
        if flavour & 12 == 12:
            return Response(200, Headers(number), b"unread")
        body = b""
        if flavour & 4:
            async for part in request.body:
                body += part
                await asyncio.sleep(0)
        else:
            body = await request.body.read()
        read.append((request.method, request.target, body))
        if flavour & 16:
            await asyncio.sleep(0.01)
        if flavour & 8:
            return StreamResponse.of(_parts(body), headers=number)
        if flavour & 32 and len(body) == 5:
            raise Fault(Code.INTERNAL, "told to")
        return Response(200, Headers(number), body)

    how = Drive.PARKED if flavour & 64 else Drive.EAGER
    served, connection, wire = connected(handler, how)

    def watch(size: int) -> None:
        assert len(connection._buffer) <= SERVER.buffer_bytes + size, "too much is kept"

    await wire.feed(given, watch)
    if flavour & 3 == 1:
        wire.finish()
    elif flavour & 3 == 2:
        wire.reset()
    elif flavour & 3 == 3:
        await turns()
        wire.finish()
    await settle(served, wire)
    assert served.counters.defects == 0
    sent = wire.sent.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    return Heard(begun, read, sent)


async def _parts(body: bytes) -> AsyncIterator[bytes]:
    yield b""
    yield body[:3]
    await asyncio.sleep(0)
    yield body[3:]
