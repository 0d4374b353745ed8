"""Second readers: what h11 and aiohttp's parser in Python take the same bytes for."""

import asyncio
import re
from typing import Final, NamedTuple
from unittest.mock import Mock

import h11
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.http_parser import HttpRequestParserPy, HttpResponseParserPy
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

__all__ = [
    "Answer",
    "Asked",
    "answers_and_refusal",
    "answers_h11",
    "requests_aiohttp",
    "requests_h11",
]

_ROOM: Final = 1 << 20
_CUT: Final = re.compile("peer closed|unexpectedly closed|ConnectionClosed")  # so h11 says it
_SINGLE: Final = "Duplicate '"  # fields that aiohttp refuses twice: it reads nothing else there

Pairs = list[tuple[bytes, bytes]]


class Asked(NamedTuple):
    """A request as a peer has read it."""

    method: bytes
    target: bytes
    headers: Pairs
    body: bytes


class Answer(NamedTuple):
    """A response as a peer has read it."""

    status: int
    headers: Pairs
    body: bytes


def requests_h11(wire: bytes, *, strict: bool) -> tuple[list[Asked], bool]:
    """Read requests; also say whether the last of them is not complete.

    `strict` has a refusal raised. Else reading ends there, and goes on where h11 would close.
    """
    read: list[Asked] = []
    try:
        while wire:
            server = h11.Connection(h11.SERVER, max_incomplete_event_size=_ROOM)
            server.receive_data(wire if strict else wire.removeprefix(b"\r\n"))
            head, body = server.next_event(), b""
            if not isinstance(head, h11.Request):
                return read, True
            while not isinstance(event := server.next_event(), h11.EndOfMessage):
                if not isinstance(event, h11.Data):
                    return read, True
                body += bytes(event.data)
            headers = [(name, value) for name, value in head.headers]
            read.append(Asked(head.method, head.target, headers, body))
            wire = server.trailing_data[0]
    except h11.RemoteProtocolError:
        if strict:
            raise
        return read, True
    return read, False


def _protocol() -> BaseProtocol:
    return Mock(BaseProtocol, _reading_paused=False)


def _read(payload: StreamReader) -> bytes | None:
    """Return a payload's bytes, None where it has not ended."""
    if payload is EMPTY_PAYLOAD:
        return b""
    return b"".join(payload._buffer) if payload.is_eof() else None


def requests_aiohttp(wire: bytes) -> tuple[list[Asked], bool]:
    """Read requests by aiohttp; also say whether the last of them is not complete."""
    loop = asyncio.get_running_loop()
    parser = HttpRequestParserPy(_protocol(), loop, limit=_ROOM, auto_decompress=False)
    read: list[Asked] = []
    messages, upgraded, tail = parser.feed_data(wire)
    assert not upgraded
    for message, payload in messages:
        body = _read(payload)
        if body is None:
            return read, True
        headers = [(name.lower(), value) for name, value in message.raw_headers]
        target = message.path.encode("utf-8", "surrogateescape")
        read.append(Asked(message.method.encode("ascii"), target, headers, body))
    return read, bool(tail or parser._tail or parser._lines)


def twice(error: BadHttpMessage) -> bool:
    """Say whether aiohttp refuses a field that stands twice, which is no other reading."""
    return error.message.startswith(_SINGLE)


def answers_h11(wire: bytes, methods: list[str]) -> tuple[list[Answer], str]:
    """Read answers to requests of `methods`.

    Also return what follows them: nothing, `cut` where one is not complete, `more` where there are
    bytes without a request.
    """
    read: list[Answer] = []
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=_ROOM)
    client.receive_data(wire)
    client.receive_data(b"")
    for method in methods:
        if client.trailing_data[0] == b"":
            return read, ""
        if read:
            if client.states[h11.SERVER] is not h11.DONE:
                return read, "more"
            client.start_next_cycle()
        client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        status, headers, body = 0, Pairs(), b""
        while not isinstance(event := _next(client), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status, headers = (
                    event.status_code,
                    [(name, value) for name, value in event.headers],
                )
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif not isinstance(event, h11.InformationalResponse):
                return read, "cut"
        read.append(Answer(status, headers, body))
    return read, "more" if client.trailing_data[0] else ""


def answers_and_refusal(wire: bytes, begun: list[str], asked: bytes) -> tuple[list[Answer], str]:
    """Read the answers to requests that were `begun`, and to one more that was refused.

    Of that one the method is not known; a HEAD among what was `asked` has no body in its answer.
    """
    read = answers_h11(wire, [*begun, "GET"])
    if read[1] == "cut" and b"HEAD " in asked:
        bare = answers_h11(wire, [*begun, "HEAD"])
        return read if bare[1] else bare
    return read


def _next(client: h11.Connection) -> object:
    try:
        return client.next_event()
    except h11.RemoteProtocolError as error:
        if not client.trailing_data[1] or not _CUT.search(str(error)):
            raise
        return None


def answer_aiohttp(wire: bytes, method: str) -> tuple[Answer | None, bytes]:
    """Read one answer by aiohttp, to the end of the connection; None where it was cut."""
    loop = asyncio.get_running_loop()
    parser = HttpResponseParserPy(
        _protocol(),
        loop,
        limit=_ROOM,
        method=method,
        response_with_body=method != "HEAD",
        read_until_eof=True,
        auto_decompress=False,
    )
    messages, _, tail = parser.feed_data(wire)
    if not messages:
        return None, tail
    message, payload = messages[-1]
    try:
        parser.feed_eof()
    except Exception:  # so it says that the body was cut
        return None, tail
    body = _read(payload)
    if body is None:
        return None, tail
    headers = [(name.lower(), value) for name, value in message.raw_headers]
    return Answer(message.code, headers, body), tail
