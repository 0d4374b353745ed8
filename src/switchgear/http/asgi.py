"""The ASGI host: any ASGI 3 app is a handler.

```
   the server's frames --await head--> Response | StreamResponse | Upgrade
                                             |
   the app's own task  --send-----------> Stream / WebSocket
```

An app runs in a real task with a Context of its own (timeouts, task groups and anyio find what
they look for), while the frames around it wait for the head alone. A client who leaves, or a
deadline, calls the app off until its answer is complete; what it does afterwards (background
tasks) is its own affair. Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
from asyncio import CancelledError, Future
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

from switchgear.core.ambient import ambient
from switchgear.core.drivers import Parked
from switchgear.http.defects import log_defect
from switchgear.http.headers import Headers
from switchgear.http.lifespan import App, Lifespan, Message, Scope
from switchgear.http.message import Request, Response, StreamResponse
from switchgear.http.stream import Stream, Whole
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault

__all__ = ["AsgiHost", "Run"]

HELD_BYTES: Final = 65536  # of an answer, before `send` waits for the client


class AsgiHost:
    """Host an ASGI app as a handler of requests and WebSockets, under the path `root_path`.

    `start` and `stop` run its lifespan. `on_defect` is told what the app raised after its
    answer was complete; what it raises before becomes the call's failure.
    """

    def __init__(
        self,
        app: App,
        root_path: str = "",
        *,
        on_defect: Callable[[BaseException, Call[Request]], None] = log_defect,
    ) -> None:
        self.app = app
        self.on_defect = on_defect
        self.running = 0  # apps whose answer may be complete, but who have not returned
        self._root_path = root_path
        self._lifespan = Lifespan(app)
        self._idle: list[Parked] = []
        self._quiet: Future[None] | None = None

    async def start(self) -> None:
        """Start the app. Raises RuntimeError when it says that it cannot."""
        await self._lifespan.startup()

    async def stop(self, timeout: float = 10.0) -> None:
        """Wait for what apps still do, then end the lifespan."""
        if self.running:
            self._quiet = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._quiet], timeout=timeout)
        idle, self._idle = self._idle, []
        for parked in idle:
            parked.close()
        await self._lifespan.shutdown(timeout)

    async def __call__(self, call: Call[Request]) -> Response:
        """Answer a call by the app.

        Raises what the app raised before its answer had begun.
        """
        run: Run
        if call.payload.upgrade:
            from switchgear.http.asgi_socket import SocketRun

            run = SocketRun(self, call)
        else:
            run = Run(self, call)
        parked = self._idle.pop() if self._idle else Parked(asyncio.get_running_loop())
        self.running += 1
        parked.run(run.main(parked))
        try:
            return await run.head
        except CancelledError:
            run.call_off()
            raise

    def over(self, parked: Parked) -> None:
        """Take the end of one run of the app; its task is used again."""
        self.running -= 1
        self._idle.append(parked)
        if not self.running and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    def scope(self, call: Call[Request], kind: str) -> Scope:
        """Make the scope of a request."""
        request = call.payload
        return {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1" if request.minor else "1.0",
            "method": request.method,
            "scheme": request.scheme,
            "path": unquote(request.path),
            "raw_path": request.path.encode("ascii"),
            "query_string": request.query.encode("ascii"),
            "root_path": self._root_path,
            "headers": [
                (name.encode("ascii"), value.encode("latin-1")) for name, value in request.headers
            ],
            "client": (request.peer, 0) if request.peer else None,
            "server": None,
            "state": dict(self._lifespan.state),
            "extensions": {"switchgear": {"call": call}},
        }


class Run:
    """One run of the app for one request. It feeds the stream of a long answer."""

    def __init__(self, host: AsgiHost, call: Call[Request]) -> None:
        loop = asyncio.get_running_loop()
        self.host = host
        self.call = call
        self.head: Future[Response] = loop.create_future()
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._start: tuple[int, Headers] | None = None
        self._first: list[bytes] = []
        self._stream: Stream | None = None
        self._complete = False
        self._held: Response | None = None
        self._read = False
        self._fault: Fault | None = None
        self._off = False  # called off: nobody waits for the answer, or for the rest of it
        self._left: Future[None] = loop.create_future()  # what `receive` reports as a disconnect
        self._room: Future[None] | None = None

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
            self.host.over(parked)

    async def run(self) -> None:
        """Call the app."""
        await self.host.app(self.host.scope(self.call, "http"), self.receive, self.send)

    def _end(self, error: Exception | None) -> None:
        """Take the end of the app, however it came."""
        if not self.head.done():
            if self._held is not None and error is None:
                self.head.set_result(self._held)
            else:
                nothing = RuntimeError("the app returned without an answer")
                self.head.set_exception(self._fault or error or nothing)
        elif self._stream is not None and self._stream.open:
            self._stream.fail(error or RuntimeError("the app returned amid its answer"))
        elif error is not None and not self._off:
            self.host.on_defect(error, self.call)
        self.disconnect()

    def call_off(self) -> None:
        """Call the app off: nobody waits for its answer."""
        if not self._off:
            self._off = True
            self.disconnect()
            self.resume()
            if self._task is not None:
                self._task.cancel()

    def disconnect(self) -> None:
        """Have `receive` say that the client has left, or that the exchange is over."""
        if not self._left.done():
            self._left.set_result(None)

    # What the app calls

    async def receive(self) -> Message:
        """Return the next piece of the body, and after its end the client's leaving."""
        if self._read or self._left.done():
            await asyncio.shield(self._left)
            return {"type": "http.disconnect"}
        body = self.call.payload.body
        try:
            if isinstance(body, Whole):
                self._read = True
                return {"type": "http.request", "body": body.data, "more_body": False}
            data = await body.chunk()
        except Fault as fault:
            self._read = True
            if fault.code is Code.CANCELLED:
                return {"type": "http.disconnect"}
            self._fault = fault  # frameworks would answer 500: the fault knows better
            raise
        self._read = not data
        return {"type": "http.request", "body": data, "more_body": bool(data)}

    async def send(self, message: Message) -> None:
        """Take a piece of the answer; wait while the client is behind."""
        kind = message["type"]
        if kind == "http.response.start":
            if self._start is not None:
                raise RuntimeError("the answer has begun already")
            self._start = (message["status"], read_headers(message.get("headers", ())))
        elif kind == "http.response.body":
            await self._body(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"an app must not send {kind!r} here")

    async def _body(self, data: bytes, *, more: bool) -> None:
        if self._start is None or self._complete:
            raise RuntimeError("a body without a beginning, or after its end")
        if self._off:
            raise OSError("the client has left")
        self._complete = not more
        stream = self._stream
        if stream is None:
            if self._fault is None:
                self._answer(bytes(data), more=more)
        else:
            if data:
                stream.feed(bytes(data))
            if not more:
                stream.finish()
        if self._complete:
            self.disconnect()
        if self._room is not None:
            await self._room

    def _answer(self, data: bytes, *, more: bool) -> None:
        assert self._start is not None  # noqa: S101 - the caller has looked
        status, headers = self._start
        if more:
            length = headers.get("content-length")
            known = int(length) if length is not None and length.isdigit() else None
            self._stream = Stream(self, known, HELD_BYTES)
            if data:
                self._stream.feed(data)
            self._give(StreamResponse(status, headers, self._stream))
        elif status == 500:  # frameworks send this and then raise what they caught: wait for it
            self._held = Response(status, headers, data)
        else:
            self._give(Response(status, headers, data))

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


def read_headers(pairs: Any) -> Headers:
    """Read an app's headers."""
    return Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs])
