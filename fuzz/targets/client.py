"""The target for a pool: from an upstream's bytes to an answer or a fault, never half of one."""

import asyncio
from typing import Final, NamedTuple

from fuzz.cuts import pieces, reader
from fuzz.peers import answers_h11
from fuzz.world import CLIENT, LONG, Dials, Wire, drive, turns, wired
from switchgear.http.message import Request, Response
from switchgear.http.pool import Pool
from switchgear.http.stream import Stream
from switchgear.policy.call import Call
from switchgear.policy.fault import Fault
from switchgear.testing.virtual import clock

__all__ = ["client"]

METHODS: Final = ("GET", "HEAD", "POST", "GET")
SECOND: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"


class Got(NamedTuple):
    """What the caller of a pool got: a fault where the status is 0."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    fed: int  # bytes that had come by then


NOTHING: Final = Got(0, [], b"", 0)


def client(data: bytes) -> None:
    """Have an upstream answer these bytes."""
    (how, flavour), data = reader(data, 2)
    whole = drive(_ask([data] if data else [], flavour))
    cut = drive(_ask(pieces(how, data), flavour))
    for got in (whole, cut):
        _check(got, data, flavour)
    # Bytes behind an answer are a fault where they come with it, and poison where they come later.
    assert whole[:3] in (cut[:3], NOTHING[:3]), (whole, cut)


def _check(got: Got, data: bytes, flavour: int) -> None:
    if not got.status:
        return
    method = METHODS[flavour & 3]
    read = data[: got.fed]
    theirs, after = answers_h11(read, [method])
    assert theirs, f"h11 takes for cut what was taken for an answer: {after}"
    assert theirs[0].status == got.status
    assert theirs[0].body == got.body
    ours = [(name.encode(), value.encode("latin-1")) for name, value in got.headers]
    assert theirs[0].headers == [pair for pair in ours if pair[0] != b"transfer-encoding"] or (
        theirs[0].headers == ours
    )


async def _ask(given: list[bytes], flavour: int) -> Got:
    dials = Dials()
    pool = wired(dials)
    task = asyncio.ensure_future(pool(_call(METHODS[flavour & 3])))
    await turns()
    (wire,) = dials.wires
    assert wire.sent.endswith(b"\r\n\r\n")
    taking = asyncio.ensure_future(_take(task, lazily=bool(flavour & 4)))
    fed = 0
    answered = 0

    def watch(size: int) -> None:
        nonlocal fed, answered
        fed += size
        answered = answered or (fed if task.done() and _ended(task) else 0)
        _bounded(wire, size)

    await wire.feed(given, watch)
    if flavour & 24 == 8:
        wire.finish()
    elif flavour & 24 == 16:
        wire.reset()
    elif flavour & 24 == 24:
        await turns(20)
    else:
        wire.finish()
    status, headers, body = await taking
    await turns()
    if not status and fed:
        assert wire.closed, "what could not be believed is still open"
    await _again(pool, dials, fed, answered or fed)
    return Got(status, headers, body, answered or fed)


def _ended(task: "asyncio.Task[Response]") -> bool:
    if task.exception() is not None:
        return True
    body = task.result().body
    return not isinstance(body, Stream) or not body.open


def _call(method: str) -> Call[Request]:
    return Call(Request.of(method, "/a"), clock() + 3, repeatable=False)


async def _take(
    task: "asyncio.Task[Response]", *, lazily: bool
) -> tuple[int, list[tuple[str, str]], bytes]:
    body = b""
    try:
        answer = await task
        if lazily and isinstance(answer.body, Stream):
            await asyncio.sleep(0.1)
            async for part in answer.body:
                body += part
                await asyncio.sleep(0)
        else:
            body = await answer.read()
    except Fault as fault:
        # A whole read has a limit of its own, which is nobody else's fault.
        assert fault.origin == "up" or "larger" in fault.detail, fault
        return NOTHING[:3]
    return answer.status, list(answer.headers), body


def _bounded(wire: Wire, size: int) -> None:
    upstream = wire.protocol
    held = len(getattr(upstream, "_buffer", b""))
    assert held <= CLIENT.head_bytes + size, "too much is kept of a head"
    stream = getattr(upstream, "_stream", None)
    if isinstance(stream, Stream):
        assert stream._size <= CLIENT.buffer_bytes + size, "too much is kept of a body"


async def _again(pool: Pool, dials: Dials, fed: int, answered: int) -> None:
    """Ask once more: the second answer is the second one's, on a connection to be trusted."""
    first = dials.wires[0]
    if fed > answered:
        assert first.closed, "bytes came behind the answer, and the connection is kept"
    sent = len(first.sent)
    task = asyncio.ensure_future(pool(_call("GET")))
    await turns()
    wire = dials.wires[-1]
    if wire is first:
        assert not first.closed
        assert len(first.sent) > sent
    wire.protocol.data_received(SECOND)
    answer = await task
    assert (answer.status, await answer.read()) == (200, b"second")
    await pool.close()
    await asyncio.sleep(LONG)
    assert pool.statistics()["open"] == 0
