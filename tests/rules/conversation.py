"""Conversations: an entry's bytes are sent, and what comes back is read strictly."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from operator import contains
from typing import Any, NamedTuple

import uvloop

from tests.rules.entry import AWAY, BREAK, BYE, END, Await, Entry, Pause
from tests.rules.world import PROBE, PROBED, World, act, unvarying, world

__all__ = ["LOOPS", "Seen", "observe"]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3})[^\r\n]*")


class Answer(NamedTuple):
    """One answer, read to its end."""

    status: int
    line: str
    fields: dict[str, str]
    body: bytes
    cut: bool  # whether it ended before it was complete

    @property
    def reason(self) -> str:
        """The reason of a refusal, in one token."""
        if not self.fields.get("content-type", "").startswith("application/problem+json"):
            return ""
        return str(json.loads(self.body).get("reason", "")) if self.body else ""

    @property
    def short(self) -> str:
        cut = " cut" if self.cut else ""
        return f"{self.status} {self.reason}".strip() + cut


@dataclass
class Seen:
    """What came of an entry."""

    answers: list[Answer]
    end: str  # kept, closed, reset or silent
    received: bytes
    forwarded: bytes = b""
    again: bool | None = None
    read: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    clean: bool | None = None  # whether a drain ended by itself

    @property
    def short(self) -> str:
        told = " ".join(answer.short for answer in self.answers)
        return f"{told}, {self.end}".removeprefix(", ")


class _Client(asyncio.Protocol):
    """Keeps what comes, and how it ended."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.end = ""
        self.news = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.news.set()

    def eof_received(self) -> bool:
        self.end = self.end or "closed"
        self.news.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.end = self.end or ("reset" if exc is not None else "closed")
        self.news.set()

    async def until(self, done: Callable[[], bool], patience: float) -> bool:
        """Wait until something is so, or the other side has ended, or patience has."""
        try:
            async with asyncio.timeout(patience):
                while not (done() or self.end):
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            return False
        return True


def answers_in(data: bytes, methods: list[str], *, ended: bool) -> list[Answer]:
    """Read the answers in `data`; one that is cut short is only told of when all has `ended`."""
    found: list[Answer] = []
    while data:
        top, mark, rest = data.partition(b"\r\n\r\n")
        status = _STATUS.match(top)
        assert status is not None, data[:200]
        if not mark:
            return found + ([Answer(0, "", {}, b"", True)] if ended else [])
        code = int(status[1])
        lines = [line.partition(b": ") for line in top.split(b"\r\n")[1:]]
        fields = {name.decode().lower(): value.decode("latin-1") for name, _, value in lines}
        finals = sum(one.status >= 200 for one in found)
        method = methods[finals] if finals < len(methods) else "GET"
        bodiless = method == "HEAD" or code < 200 or code in (204, 304)
        body, data, cut = _body(rest, fields, bodiless=bodiless)
        if cut and not ended:
            return found
        if fields.get("transfer-encoding") is None and "content-length" not in fields:
            cut = False  # its end is the end of the connection
        found.append(Answer(code, status[0].decode("latin-1"), fields, body, cut))
        if code == 101:
            return found
    return found


def _body(rest: bytes, fields: dict[str, str], *, bodiless: bool) -> tuple[bytes, bytes, bool]:
    """Return the body, what stands behind it, and whether it is incomplete."""
    if bodiless:
        return b"", rest, False
    if "transfer-encoding" in fields:
        assert fields["transfer-encoding"] == "chunked"
        assert "content-length" not in fields
        parts: list[bytes] = []
        while True:
            size, mark, rest = rest.partition(b"\r\n")
            if not mark or len(rest) < int(size, 16) + 2:
                return b"".join(parts), b"", True
            part, crlf = rest[: int(size, 16)], rest[int(size, 16) :][:2]
            assert crlf == b"\r\n"
            rest = rest[int(size, 16) + 2 :]
            if not part:
                return b"".join(parts), rest, False
            parts.append(part)
    if "content-length" in fields:
        length = int(fields["content-length"])
        return rest[:length], rest[length:], len(rest) < length
    return rest, b"", True


async def converse(entry: Entry, at: World) -> Seen:
    """Play an entry's client."""
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(_Client, "127.0.0.1", at.server.port)
    try:
        return await _play(entry, at, transport, client)
    finally:
        transport.abort()
        await asyncio.sleep(0)


async def _play(entry: Entry, at: World, transport: asyncio.Transport, client: _Client) -> Seen:
    loop = asyncio.get_running_loop()
    left, drain = False, None
    for step in entry.steps:
        if isinstance(step, bytes):
            transport.write(step)
        elif isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        elif isinstance(step, Await):
            await client.until(partial(contains, client.data, step.mark), entry.patience)
        elif step == AWAY:
            drain = asyncio.ensure_future(at.server.drain(entry.patience))
            await asyncio.sleep(0.02)
        else:
            left = left or step in (BYE, BREAK)
            act(step, transport)

    def read() -> list[Answer]:
        return answers_in(bytes(client.data), entry.methods, ended=bool(client.end))

    def finals() -> int:
        return sum(one.status >= 200 or one.status == 101 for one in read())

    end, size = "left" if left else "", None
    if not left:
        ready = await client.until(lambda: finals() >= entry.count, entry.patience)
        end, size = client.end, len(client.data)
        if not ready:
            end = "silent"
        elif not end:
            end = await _ask(client, transport, read, entry)
    answers = [one for one in read() if one.body != PROBED]
    if entry.again is not None and end != "kept":  # the gateway is asked by another way
        second, other = await loop.create_connection(_Client, "127.0.0.1", at.server.port)
        second.write(_probe(entry))
        assert await other.until(lambda: other.data.endswith(PROBED), entry.patience)
        second.abort()
    clean = await drain if drain is not None else None
    received = bytes(client.data)  # of a session all, of requests what came before the probe
    if answers and answers[-1].status != 101:
        received = received[:size]
    return Seen(answers, end, received, clean=clean)


def _probe(entry: Entry) -> bytes:
    return f"GET {entry.below}{PROBE} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


async def _ask(
    client: _Client,
    transport: asyncio.Transport,
    read: Callable[[], list[Answer]],
    entry: Entry,
) -> str:
    """Find out whether the connection takes another request."""
    answers = read()
    if answers and answers[-1].status == 101:
        lasts = entry.answer.endswith("kept")
        await client.until(lambda: False, 0.1 if lasts else entry.patience)
        return client.end or "kept"
    if END in entry.steps or AWAY in entry.steps:  # who has answered all closes by himself
        await client.until(lambda: False, entry.patience)
        return client.end or "silent"
    if not transport.is_closing():
        transport.write(_probe(entry))
    await client.until(lambda: any(one.body == PROBED for one in read()), 3.0)
    if any(one.body == PROBED for one in read()):
        return "kept"
    return client.end or "silent"


@cache
def observe(entry: Entry, *, gateway: bool, loop: str) -> Seen:
    """Hold an entry's conversation, once, and tell what came of it."""

    async def hold() -> Seen:
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: errors.append(told))
        async with world(entry, gateway=gateway) as at:
            seen = await converse(entry, at)
            await asyncio.sleep(0.01)  # for what is under way to the upstream
            recorder = at.recorder
            if entry.dropped:
                async with asyncio.timeout(entry.patience):
                    while not recorder.ended:
                        await asyncio.sleep(0.01)
            wires = [unvarying(wire, full=entry.full) for _, wire in recorder.requests]
            seen.forwarded = b"".join(wires)
            if recorder.probes and recorder.requests:
                seen.again = recorder.probes[-1] == recorder.requests[-1][0]
            seen.read = at.seen
        assert errors == []
        return seen

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(hold())
