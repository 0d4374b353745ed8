"""One keep-alive connection of the load client, on a bare asyncio protocol."""

import asyncio
from enum import StrEnum
from typing import NamedTuple, cast

from switchgear.drills.address import Address
from switchgear.drills.reply import CutShort, Malformed, Reply, ReplyReader

__all__ = ["Failed", "Failure", "Request", "Wire"]


class Failure(StrEnum):
    """How a request failed to get a whole response."""

    REFUSED = "refused"  # nobody listens
    UNREACHABLE = "unreachable"  # any other failure to connect
    RESET = "reset"
    CUT = "cut"  # the connection ended in good order, the response did not
    TIMEOUT = "timeout"
    MALFORMED = "malformed"  # what came is no HTTP
    WRONG = "wrong"  # a whole response, but not the one that was due: the factory says so


class Failed(Exception):  # noqa: N818 - an outcome to be counted, not a defect
    """A request got no whole response."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure


class Request(NamedTuple):
    """A request to be sent. With an `id`, the ledger hears of it, and of its `mark`."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    id: str = ""
    mark: str = ""

    def encode(self, host: str) -> bytes:
        """Return its bytes; a Host and the length of a body are added."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body or self.method in {"POST", "PUT", "PATCH"}:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class Wire:
    """A place for a connection, opened again when it has ended. It sends no request twice."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._host = "localhost" if address.path else str(address)
        self._link: _Link | None = None
        self.connects = 0

    async def open(self) -> None:
        """Connect, unless a connection stands. Raises Failed."""
        if self._link is not None and self._link.stands:
            return
        loop = asyncio.get_running_loop()
        try:
            if self._address.path:
                _, link = await loop.create_unix_connection(_Link, self._address.path)
            else:
                host, port = self._address.host, self._address.port
                _, link = await loop.create_connection(_Link, host, port)
        except ConnectionRefusedError as error:
            raise Failed(Failure.REFUSED, str(error)) from error
        except ConnectionResetError as error:
            raise Failed(Failure.RESET, str(error)) from error
        except OSError as error:
            raise Failed(Failure.UNREACHABLE, str(error)) from error
        self._link = link
        self.connects += 1

    async def exchange(self, request: Request) -> Reply:
        """Send a request on the open connection and return its reply. Raises Failed."""
        if self._link is None or not self._link.stands:
            raise Failed(Failure.RESET, "the connection ended before the request was sent")
        try:
            reply = await self._link.exchange(request.method, request.encode(self._host))
        except BaseException:  # cancelled too: its reply may still come, so the link is spent
            self.abort()
            raise
        if not reply.keep:
            self.abort()
        return reply

    def abort(self) -> None:
        """End the connection at once."""
        if self._link is not None:
            self._link.abort()
            self._link = None


class _Link(asyncio.Protocol):
    """One connection: bytes in, whole replies or failures out."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._due: asyncio.Future[Reply] | None = None

    @property
    def stands(self) -> bool:
        """Whether it can carry another request."""
        return self._transport is not None

    async def exchange(self, method: str, data: bytes) -> Reply:
        if self._transport is None:
            raise Failed(Failure.RESET, "the connection has ended")
        self._due = asyncio.get_running_loop().create_future()
        self._reader.expect(method)
        self._transport.write(data)
        try:
            return await self._due
        finally:
            self._due = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        try:
            reply = self._reader.feed(data)
        except Malformed as error:
            self._fail(Failure.MALFORMED, str(error))
            self.abort()
            return
        if reply is not None:
            self._succeed(reply)

    def eof_received(self) -> None:
        try:
            reply = self._reader.end()
        except CutShort as error:
            self._fail(Failure.CUT, str(error))
        else:
            if reply is not None:
                self._succeed(reply)
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(Failure.RESET, str(exc or "the connection was aborted"))

    def _succeed(self, reply: Reply) -> None:
        if self._due is not None and not self._due.done():
            self._due.set_result(reply)

    def _fail(self, failure: Failure, detail: str) -> None:
        if self._due is not None and not self._due.done():
            self._due.set_exception(Failed(failure, detail))
