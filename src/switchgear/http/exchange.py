"""Exchanges: one request on a server's connection, and the writing of its answer.

An `Exchange` is the delivery that `core.delivery.dispatch` runs: a value becomes a response, a
fault a problem document, a defect a 500 with its traceback in the log. Framing is decided here
and nowhere else: one Content-Length, one chunked, or none (rules 22 and 25).
"""

from asyncio import CancelledError
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from switchgear.core.drivers import Stepper, Work
from switchgear.core.outcome import Done, Outcome
from switchgear.http.exchanged import Exchanged
from switchgear.http.flow import Flow
from switchgear.http.heads import CHUNKED, UNTIL_CLOSE
from switchgear.http.message import Request, Response, StreamResponse, Upgrade
from switchgear.http.refusals import full, reason_of
from switchgear.http.status import LINES, line, sized
from switchgear.http.stream import Body, Produced
from switchgear.http.unwritable import UnwritableError
from switchgear.policy.call import Call
from switchgear.policy.crossing import as_fault, declared
from switchgear.policy.fault import Code, Fault
from switchgear.policy.native import native
from switchgear.policy.trail import Trail

if TYPE_CHECKING:
    from switchgear.http.connection import Connection

__all__ = ["Exchange"]

_CHUNKED: Final = b"transfer-encoding: chunked\r\n\r\n"
_CLOSE: Final = b"connection: close\r\n"
_SWITCH: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
)
_HINT: Final = b"HTTP/1.1 103 Early Hints\r\n"
_KEEP: Final = b"connection: keep-alive\r\n"


@native(free_list_len=1)
class Exchange:
    """One request of a connection, from its head to the last byte of its answer."""

    __slots__ = ("_connection", "_cut", "_fault", "_flow", "call", "keep", "minor", "sent",
                 "started", "status", "work")  # fmt: skip

    def __init__(
        self,
        connection: "Connection",
        call: Call[Request],
        minor: int,
        keep: bool,
        started: float,
    ) -> None:
        self.call = call
        self.minor = minor
        self.keep = keep
        self.work: Work | None = None
        self._connection = connection
        self.started = started
        self.status = 0  # of the answer, once there is one
        self.sent = 0  # bytes of its body that were written
        self._fault: Fault | None = None
        self._cut = False
        self._flow: Flow | None = None  # of an answer that is not whole

    @property
    def begun(self) -> bool:
        """Whether any of the answer was written."""
        return self.status > 0 and (self._flow is None or not self._flow.head)

    @property
    def stepper(self) -> Stepper | None:
        """Who is stepping in the thread of its server; None in a task."""
        return self._connection.server.place.stepper

    def begin(self, work: Work) -> None:
        """Take the running work; the client may have left already."""
        self.work = work
        if self._connection.lost:
            work.cancel()

    def settle(self, outcome: Outcome[Response]) -> Coroutine[Any, Any, None] | None:
        """Write the answer: at once where it is whole."""
        if outcome.__class__ is not Done:
            self._lost(outcome.error)  # type: ignore[union-attr]  # else it is Failed
            return None
        response = outcome.value
        if response.__class__ is not Response:
            return self._settle(response)
        try:
            self._whole(response)
        except Exception as error:  # noqa: BLE001 - an answer that cannot be sent is a defect
            self._lost(error)
        return None

    async def _settle(self, response: Response) -> None:
        """Write an answer that flows, to its end."""
        connection = self._connection
        try:
            await self._flowing(response)
        except CancelledError as error:
            if not self.status and not connection.lost:  # called off by us, and nothing was sent
                self._fail(error)
                raise
            if not connection.lost:
                self._cut = True
                connection.cut()
            self.over(left=not self._cut)
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._lost(error)

    def _lost(self, failure: BaseException) -> None:
        """Say that there is no answer, or no more of it."""
        if self._connection.lost:
            self.over(left=True)
        elif self.status:
            self._break(failure)
        else:
            self._fail(failure)

    def _fail(self, error: BaseException) -> None:
        """Answer a failure: before the first byte of an answer was sent."""
        server = self._connection.server
        if isinstance(error, CancelledError) and self.work is not None and self.work.cancelling():
            error = Fault(Code.UNAVAILABLE, "the work was called off by us")
        self._whole(server.answer(self._note(error), self.call.payload.headers))

    def _note(self, error: BaseException) -> Fault:
        """Keep the fault for the observer; anything else is a defect, and reported."""
        fault = declared(error)
        if fault is None:
            server = self._connection.server
            server.counters.defects += 1
            try:
                server.on_defect(error, self.call)
            except Exception as second:  # noqa: BLE001 - the client has an answer to get
                server.report("on_defect failed", second)
            detail = as_fault(error).detail
            if isinstance(error, UnwritableError):
                fault = _unwritable(detail)
            else:
                fault = Fault(Code.INTERNAL, detail)
        self._fault = fault
        return fault

    def _break(self, error: BaseException) -> None:
        """Cut the answer: part of it was sent, and it must not look complete (rule 25)."""
        self._note(error)
        self._cut = True
        self._connection.cut()
        self.over()

    # Writing

    def inform(self, trail: Trail, fields: bytes) -> None:
        """Send an early hint (RFC 8297), unless `trail` is another's or the answer has begun."""
        if self.call.trail is trail and self.minor and not self.status:
            self._connection.send(_HINT + fields + b"\r\n")

    def _whole(self, response: Response) -> None:
        if self._connection.lost:
            self.over(left=True)
            return
        body = response.body
        if not isinstance(body, bytes):
            raise TypeError(f"a whole body is bytes, not {type(body).__name__}")
        status, headers = response.status, response.headers
        lines = headers.wire()
        if self.call.payload.method != "HEAD" or status == 204 or status == 304:
            self.answer(status, lines, body, dated=headers.dated)
            return
        length = _announced(response)
        head = self._begin(status, lines, dated=headers.dated)
        self._connection.send(head + (b"\r\n" if length is None else sized(length)))
        self.over()

    def answer(self, status: int, lines: bytes, body: bytes, *, dated: bool) -> None:
        """Write a whole answer with its field lines as they stand, to any method but HEAD."""
        head = self._begin(status, lines, dated=dated)
        if status == 204 or status == 304:
            self._connection.send(head + b"\r\n")
        else:
            self.sent = len(body)
            self._connection.send(head + sized(self.sent) + body)
        self.over()

    def _begin(self, status: int, lines: bytes, *, dated: bool) -> bytes:
        """Return the head without its framing; from here on the answer has begun."""
        connection = self._connection
        head = (LINES.get(status) or line(status)) + lines
        if not dated:
            head += connection.server.date(self.started)
        if self.keep and not connection.keeps():
            self.keep = False
        if not self.keep:
            head += _CLOSE
        elif self.minor == 0:
            head += _KEEP
        self.status = status
        return head

    async def _flowing(self, response: Response) -> None:
        if isinstance(response, Upgrade):
            await self._switch(response)
            return
        if not isinstance(response, StreamResponse):
            raise TypeError(f"a handler returned {type(response).__name__}, not a Response")
        failure: BaseException | None = None
        try:
            await self._stream(response)
        except BaseException as error:  # noqa: BLE001 - raised below
            failure = error
        response.abandon()
        if isinstance(response.body, Produced):
            await response.body.close()
        if failure is not None:
            raise failure

    async def _switch(self, response: Upgrade) -> None:
        """Change the protocol, and wait for the end of what is spoken then."""
        connection = self._connection
        try:
            if connection.lost:
                self.over(left=True)
                return
            if not self.call.payload.upgrade:
                raise TypeError("an upgrade answers a request that asked for none")
            client = self.call.payload.peer
            refused = connection.server.census.refuses_session(client)
            if refused:
                raise full("sessions-full", refused)
            self.keep = False
            self.status = response.status
            connection.send(_SWITCH + response.headers.wire() + b"\r\n")
            try:
                await connection.tunnel(response.body, client)
            except Exception as error:  # noqa: BLE001 - the session has said so to its peer
                self._note(error)
            self.over(left=connection.lost)
        finally:
            response.abandon()

    async def _stream(self, response: StreamResponse) -> None:
        connection = self._connection
        if connection.lost:
            self.over(left=True)
            return
        body: Body = response.body
        if self.minor == 0 and body.length is None:
            self.keep = False
        lines = response.headers.wire()
        head = self._begin(response.status, lines, dated=response.headers.dated)
        if self.call.payload.method == "HEAD" or response.status in (204, 304):
            connection.send(head + b"\r\n")
            self.over()
            return
        if body.length is not None:
            framing, head = body.length, head + sized(body.length)
        elif self.minor == 0:
            framing, head = UNTIL_CLOSE, head + b"\r\n"
        else:
            framing, head = CHUNKED, head + _CHUNKED
        self._flow = flow = Flow(self, connection, head, framing)
        await flow.run(body)

    def hold(self) -> None:
        """Be told that the client reads slowly."""
        if self._flow is not None:
            self._flow.hold()

    def release(self) -> None:
        """Be told that the client has caught up."""
        if self._flow is not None:
            self._flow.release()

    # The end

    def over(self, *, left: bool = False) -> None:
        """Account for the exchange and hand the connection to the next one."""
        connection = self._connection
        self._flow = None
        fault, self._fault = self._fault, None  # it holds its traceback, and that one this exchange
        if connection.exchange is not self:
            return
        server = connection.server
        if left and server.cutting:
            left, self._cut = False, True
        now = server.clock()
        if self.status >= 400 and self.call.payload.upgrade:
            server.refused(connection.peer, "upgrade-refused", self.status)
        if server.observer is not None:
            server.show(
                Exchanged(
                    self.call,
                    self.status,
                    self.sent,
                    now - self.started,
                    "" if fault is None else fault.code.value,
                    "" if fault is None else fault.detail,
                    "" if fault is None else reason_of(fault),
                    left,
                    self._cut,
                )
            )
        connection.over(self, now)


def _unwritable(detail: str) -> Fault:
    """Make the fault of an answer whose header cannot be sent: a 500 of a server that is well.

    What its handler has put there is mostly a client's text. It is a defect, and told as one; but
    were it counted as one, who sends a line break five times would open the breaker for everybody
    else. So it is one that came from further on.
    """
    return Fault(Code.INTERNAL, detail, hops=("client",))


def _announced(response: Response) -> int | None:
    """Return the length that a GET would have had."""
    if response.body:
        return len(response.body)
    length = response.headers.get("content-length")
    if length is None or not length.isascii() or not length.isdigit():
        return None
    return int(length)
