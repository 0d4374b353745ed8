"""One request of a hosted app: what it may receive and send, and in which order.

```
  START --response.start--> HEAD --body, more--> BODY --body, last--> TRAILERS --> COMPLETE
                              +------ body, last ------------------------------------^
```

A message out of turn, or of the wrong shape, raises in the app and changes nothing. An app whose
answer is not what it announced is cut, or a 500 where nothing was sent yet.
"""

import asyncio
import logging
from asyncio import CancelledError, Future
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from switchgear.core.ambient import ambient
from switchgear.core.clock import FINE
from switchgear.core.confining import confine
from switchgear.core.parked import Parked
from switchgear.core.sweep import Alarm, sweep_of
from switchgear.http.asgi_file import send_file
from switchgear.http.asgi_scope import EARLY_HINT, PATHSEND, TRAILERS
from switchgear.http.asgi_shape import Head, piece, trailers_of
from switchgear.http.headers import Headers
from switchgear.http.lifespan import Message
from switchgear.http.message import Request, Response, StreamResponse, hint
from switchgear.http.stream import Stream, Whole
from switchgear.policy.call import Call
from switchgear.policy.crossing import declared
from switchgear.policy.fault import Code, Fault

if TYPE_CHECKING:
    from switchgear.http.asgi import AsgiHost

__all__ = ["AFTERWARDS", "Run", "State"]

HELD_BYTES: Final = 65536  # of an answer, before `send` waits for the client
AFTERWARDS: Final = 5.0  # seconds that an app which was told of its client's leaving gets to return

_log: Final = logging.getLogger("switchgear.http")


class State(IntEnum):
    """How far the answer has come."""

    START = 0
    HEAD = 1
    BODY = 2
    TRAILERS = 3
    COMPLETE = 4


class Run:
    """One run of the app for one request. It feeds the stream of a long answer."""

    def __init__(self, host: "AsgiHost", call: Call[Request]) -> None:
        loop = asyncio.get_running_loop()
        self.host = host
        self.call = call
        self.head: Future[Response] = loop.create_future()
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._state = State.START
        self._head: Head | None = None
        self._stream: Stream | None = None
        self._held: Response | None = None
        self._trailers: list[tuple[str, str]] = []
        self._read = False
        self._listens = False  # the app waits, or has waited, to be told that its client has left
        self._failure: Exception | None = None  # what the answer is, whatever the app makes of it
        self._off = False  # called off: nobody waits for the answer, or for the rest of it
        self._over = False  # the client has left, or the exchange is over: `receive` says so
        self._left: Future[None] | None = None  # wakes whom it is to be said
        self._room: Future[None] | None = None
        self._turn: asyncio.Lock | None = None
        self._alarm: set[Alarm] | None = None

    async def main(self, parked: Parked) -> None:
        """Run the app, and see to it that the call has an answer."""
        ambient.set(self.call)
        self._task = asyncio.current_task()
        try:
            if not self._off:
                await self.run()
        except CancelledError:
            self._end(Fault(Code.CANCELLED, "the app was called off"))
            if not self._off:
                raise
        except Exception as error:  # noqa: BLE001 - it is the call's failure, or a defect
            self._end(error)
        else:
            self._end(None)
        finally:
            self._task = None
            self.host.over(self, parked)

    async def run(self) -> None:
        """Call the app.

        Raises RuntimeError where it exits, for the process is not its own, and where it is
        cancelled by nothing but its own doing, as by a task of its own that was: its client is
        there, and waits for an answer.
        """
        try:
            await self.host.app(self.host.scope(self.call), self.receive, self.send)
        except CancelledError as error:
            if self._off or self._task is None or self._task.cancelling():
                raise
            raise RuntimeError("the app was cancelled, and nobody has called it off") from error
        except BaseException as error:
            confine(error, self._task)
            raise

    # The end

    def _end(self, error: Exception | None) -> None:
        """Take the end of the app, however it came."""
        self.disconnect()
        if self._alarm is not None:
            self._alarm.discard(self)
        if self._off:
            self._aftermath(error)
        elif self._held is not None and not self.head.done():
            self._settle_held(error)
        elif not self.head.done():
            nothing = RuntimeError("the app returned without an answer")
            self.head.set_exception(self._failure or error or nothing)
        elif self._stream is not None and self._stream.open:
            self._stream.fail(error or RuntimeError("the app returned amid its answer"))
        elif error is not None and error is not self._failure:
            self.host.on_defect(error, self.call)

    def _settle_held(self, error: Exception | None) -> None:
        """Send the app's own page for its error, unless what it raised knows better."""
        if error is not None and declared(error) is not None:
            self.head.set_exception(error)
            return
        self._release()
        if error is not None:
            self.host.on_defect(error, self.call)

    def _aftermath(self, error: Exception | None) -> None:
        """Tell what an app raised whose client had left: mostly that it has noticed."""
        gone = error or Fault(Code.CANCELLED, "the app was called off")
        if not self.head.done():
            self.head.set_exception(gone)
        elif self._stream is not None:
            self._stream.fail(gone)
        if error is not None and not (isinstance(error, Fault) and error.code is Code.CANCELLED):
            request = self.call.payload
            _log.info("the client of %s %s had left", request.method, request.path, exc_info=error)

    def call_off(self) -> None:
        """Take note that nobody waits for the answer: the client has left, or time is up.

        An app that listens is told and has a moment to end; any other is cancelled at once. What
        an app does after its answer is its own affair.
        """
        if self._off or self._state is State.COMPLETE:
            return
        self._off = True
        self.disconnect()
        if self._listens:
            self.cancel_at(FINE() + AFTERWARDS)
        else:
            self.cancel()

    def cancel(self) -> None:
        """Cancel the app, whatever it does."""
        self._off = True
        self.disconnect()
        if self._task is not None:
            self._task.cancel()

    def cancel_at(self, instant: float) -> None:
        """Cancel the app at an instant, if it then still makes what nobody takes."""
        self._alarm = sweep_of(self._loop).arm(instant, self)

    def ring(self) -> None:
        """Cancel an app that goes on although nobody takes what it sends."""
        if self._off or self._state is not State.COMPLETE:
            self.cancel()

    def disconnect(self) -> None:
        """Have `receive` say that the client has left, or that the exchange is over.

        Whoever still waits in `send`, beside the one that has ended it, waits no longer.
        """
        self._over = True
        if self._left is not None and not self._left.done():
            self._left.set_result(None)
        self.resume()

    # What the app calls

    async def receive(self) -> Message:
        """Return the next piece of the body, and after its end the client's leaving."""
        if self._read or self._over:
            return await self._leaving()
        body = self.call.payload.body
        if isinstance(body, Whole):
            self._read = True
            return {"type": "http.request", "body": body.data, "more_body": False}
        if self._turn is None:
            self._turn = asyncio.Lock()  # an app may ask from two of its tasks
        async with self._turn:
            if self._read:
                return await self._leaving()
            try:
                data = await body.chunk()
            except Fault as fault:
                self._read = True
                if fault.code is Code.CANCELLED:
                    return {"type": "http.disconnect"}
                self._failure = fault  # frameworks would answer 500: the fault knows better
                raise
            self._read = not data
        return {"type": "http.request", "body": data, "more_body": bool(data)}

    async def _leaving(self) -> Message:
        await self._until_over()
        return {"type": "http.disconnect"}

    async def _until_over(self) -> None:
        """Wait until the client has left, or the exchange is over."""
        self._listens = True
        if not self._over:
            if self._left is None:
                self._left = self._loop.create_future()
            await asyncio.shield(self._left)

    async def send(self, message: Message) -> None:
        """Take a piece of the answer; wait while the client is behind.

        Raises OSError when the client has left, RuntimeError for a message out of turn, TypeError
        or ValueError for one of the wrong shape.
        """
        kind = message["type"]
        if self._off:
            raise OSError("the client has left")
        if kind == "http.response.body":
            await self._body(piece(message), bool(message.get("more_body", False)))
        elif kind == "http.response.start":
            self._begin(message, "http")
        elif kind == PATHSEND:
            await self._file(message["path"])
        elif kind == TRAILERS:
            self._trail(message)
        elif kind == EARLY_HINT:
            self._hint(message)
        else:
            raise RuntimeError(f"an app must not send {kind!r} here")

    # The answer

    def _begin(self, message: Message, scheme: str) -> None:
        if self._state is not State.START:
            raise RuntimeError("the answer has begun already")
        request = self.call.payload
        trailing = scheme == "http" and bool(message.get("trailers", False))
        self._head = Head(message, request.method, trailing=trailing)
        self._state = State.HEAD

    def _hint(self, message: Message) -> None:
        if self._state is not State.START:
            raise RuntimeError("an early hint comes before the answer")
        links = Headers([("link", bytes(link).decode("latin-1")) for link in message["links"]])
        if not self.head.done():
            hint(self.call, links)

    async def _body(self, data: bytes, more: bool) -> None:
        head = self._head
        if head is None or self._state > State.BODY:
            raise RuntimeError("a body without a beginning, or after its end")
        if self._failure is not None and self._stream is None:
            self._state = State.BODY if more else State.COMPLETE
            if not self.head.done():
                self.head.set_exception(self._failure)
            return
        wrong = head.count(len(data), more=more)
        if wrong is not None:
            self._break(wrong)
            raise wrong
        if head.empty:
            self._bodiless(head, data, more=more)
        elif self._stream is not None or more or head.trailing:
            await self._flow(head, data, more=more)
        else:
            self._state = State.COMPLETE
            self._whole(Response(head.status, head.headers, data))
        if self._state is State.COMPLETE:
            self.disconnect()

    def _bodiless(self, head: Head, data: bytes, *, more: bool) -> None:
        """Answer by a head alone, at once; what the app sends for a body goes nowhere."""
        if self._state is State.HEAD:
            told = more or head.length is not None
            self._whole(Response(head.status, head.headers, b"" if told else data))
            if more:  # nobody waits for the rest, so only the call's own deadline ends it
                self.cancel_at(self.call.deadline)
        self._state = State.BODY if more else self._after(head)

    def _whole(self, response: Response) -> None:
        if response.status == 500:  # frameworks send this and then raise what they caught
            self._held = response
            self._loop.call_soon(self._release)
        else:
            self._give(response)

    def _release(self) -> None:
        if self._held is not None:
            self._give(self._held)

    async def _flow(self, head: Head, data: bytes, *, more: bool) -> None:
        stream = self._stream
        if stream is None:
            trailed = head.trailing and self._trailed()
            self._stream = stream = Stream(self, None if trailed else head.length, HELD_BYTES)
            if data:
                stream.feed(data)
            self._give(StreamResponse(head.status, head.headers, stream))
        elif data:
            stream.feed(data)
        if more:
            self._state = State.BODY
            if self._room is not None:
                await self._room
                if self._off:
                    raise OSError("the client has left")
        else:
            self._state = self._after(head)
            if self._state is State.COMPLETE:
                stream.finish()

    @staticmethod
    def _after(head: Head) -> State:
        return State.TRAILERS if head.trailing else State.COMPLETE

    def _trailed(self) -> bool:
        """Say whether the client takes trailers."""
        request = self.call.payload
        return bool(request.minor) and "trailers" in request.headers.tokens("te")

    def _trail(self, message: Message) -> None:
        if self._state is not State.TRAILERS:
            raise RuntimeError("trailers that were not announced, or not after the body")
        self._trailers += trailers_of(message)
        if message.get("more_trailers", False):
            return
        self._state = State.COMPLETE
        if self._stream is not None:
            if self._trailed():
                self._stream.tail = Headers(self._trailers).wire()
            self._stream.finish()
        self.disconnect()

    async def _file(self, path: str) -> None:
        head = self._head
        if head is None or self._state is not State.HEAD:
            raise RuntimeError("a file stands for the whole body of an answer")
        if head.empty:
            await self._body(b"", False)
        else:
            await send_file(path, head.left, self._body)

    def _break(self, error: Exception) -> None:
        """Give the answer up: it is not the one that was announced."""
        self._state = State.COMPLETE
        self._failure = error
        if self._stream is not None:
            self._stream.fail(error)
        elif not self.head.done():
            self.head.set_exception(error)

    def _give(self, response: Response) -> None:
        if not self.head.done():
            self.head.set_result(response)

    # What the stream of the answer asks of its feeder

    def pause(self) -> None:
        """Have `send` wait: the client is behind."""
        if self._room is None:
            self._room = self._loop.create_future()

    def resume(self) -> None:
        """Let `send` go on."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def wanted(self) -> None:
        """Do nothing: the app sends unasked."""

    def abandoned(self) -> None:
        """Call the app off: nobody takes the rest."""
        self.call_off()
