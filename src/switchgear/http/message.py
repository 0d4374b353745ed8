"""Messages: what a call carries in and what it brings back.

A `Request` is the payload of a call. A `Response` holds its body whole; a `StreamResponse` holds
one on its way, and tells by `on_end` when and how it really ended.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

import msgspec

from switchgear.http.headers import Headers
from switchgear.http.refusals import reason_of
from switchgear.http.stream import EMPTY, Body, Produced, Whole
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.trail import Trail
from switchgear.policy.verdict import Verdict

__all__ = ["JSON", "NOTHING", "Arrival", "Request", "Response", "StreamResponse", "Upgrade", "hint",
           "json_response"]  # fmt: skip

T = TypeVar("T")

READ_BYTES: Final = 16 << 20  # of an answer that is read whole, unless told otherwise

NOTHING: Final = Headers()
JSON: Final = Headers({"content-type": "application/json"})

_encode: Final = msgspec.json.Encoder().encode


class Interim(Protocol):
    """An exchange that can say something before its answer."""

    def inform(self, trail: Trail, fields: bytes) -> None: ...


class Arrival(Protocol):
    """The connection that a request came in by."""

    @property
    def exchange(self) -> Interim | None:
        """The exchange in progress, which need not be this request's any more."""
        ...

    def ends(self) -> tuple[tuple[str, int] | None, tuple[str, int | None] | None]:
        """Return the client's address and our own."""
        ...


class Request(msgspec.Struct, frozen=True):
    """One request. `path` is the normal form of the `target`'s path and always what is routed.

    `peer` is the address that the connection came from; `minor` the digit after "HTTP/1.".
    """

    method: str
    path: str
    query: str = ""
    headers: Headers = NOTHING
    body: Body = EMPTY
    target: str = ""
    peer: str = ""
    scheme: str = "http"
    minor: int = 1
    upgrade: str = ""  # "websocket" where the client asks for it, and where we do
    arrival: Arrival | None = None  # where it came in by a connection

    @classmethod
    def of(
        cls,
        method: str,
        target: str,
        *,
        headers: Headers | Mapping[str, str] = NOTHING,
        body: Body | bytes = EMPTY,
    ) -> "Request":
        """Make a request to send. `target` is a path that is normal already, with its query."""
        path, _, query = target.partition("?")
        return cls(
            method,
            path,
            query,
            headers if isinstance(headers, Headers) else Headers(headers),
            Whole(body) if isinstance(body, bytes) else body,
            target,
        )


class Response(msgspec.Struct):
    """One answer. A body of bytes is whole, and the work behind it has ended."""

    status: int = 200
    headers: Headers = NOTHING
    body: Any = b""

    async def read(self, limit: int = READ_BYTES) -> bytes:
        """Return the whole body, at most `limit` bytes of it.

        Raises Fault when it is longer, or was cut.
        """
        body = self.body if isinstance(self.body, Body) else Whole(self.body)
        try:
            return await body.read(limit)
        except Fault as fault:
            if reason_of(fault) != "body-too-large":
                raise
            detail = f"the answer is larger than {limit} bytes"
            raise Fault(Code.UNAVAILABLE, detail, extra={"status": 502}) from fault

    async def json(self, kind: type[T], limit: int = READ_BYTES) -> T:
        """Decode the body as JSON into `kind`."""
        return msgspec.json.decode(await self.read(limit), type=kind)


class StreamResponse(Response):
    """An answer whose body is on its way: an `Ending`."""

    @classmethod
    def of(
        cls,
        chunks: AsyncIterator[bytes],
        status: int = 200,
        headers: Headers | Mapping[str, str] = NOTHING,
        length: int | None = None,
    ) -> "StreamResponse":
        """Answer with what an async iterator yields; `length` is its size where it is known."""
        if not hasattr(chunks, "__anext__"):  # here an honest 500, later a cut without a word
            kind = type(chunks).__name__
            raise TypeError(f"a streamed body is an async iterator of bytes, and a {kind} is none")
        given = headers if isinstance(headers, Headers) else Headers(headers)
        return cls(status, given, Produced(chunks, length))

    def on_end(self, done: Callable[[Verdict], None]) -> None:
        """Call `done` when the body has ended: GOOD if complete, BAD if cut, else NEUTRAL."""
        self.body.on_end(done)

    def abandon(self) -> None:
        """Take no more of the body: whoever sends it is told."""
        self.body.abandon()


class Upgrade(StreamResponse):
    """An answer after which the connection speaks WebSocket: a 101 whose body is a `Tunnel`."""


def hint(call: Call[Request], headers: Headers) -> None:
    """Hand an early hint on to where a call's request came from, if anybody is to be told.

    Its links alone: no other field means anything before the answer.

    Source: RFC 8297; RFC 9110, section 15.2.
    """
    arrival = call.payload.arrival
    exchange = None if arrival is None else arrival.exchange
    if exchange is not None:
        links = [pair for pair in headers.forwardable() if pair[0] == "link"]
        if links:
            exchange.inform(call.trail, Headers.parsed(links, None).wire())


def json_response(value: object, status: int = 200, headers: Headers | None = None) -> Response:
    """Answer with a value as JSON."""
    return Response(status, JSON if headers is None else headers.also(JSON), _encode(value))
