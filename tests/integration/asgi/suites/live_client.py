"""A pytest plugin: Starlette's TestClient, over a socket, against our host.

Loaded by `-p live_client` before the tests of Starlette or FastAPI, it puts its own client in place
of `starlette.testclient.TestClient`. Each client has a server of ours on a loopback port; requests
are sent by a real HTTP client, WebSockets by `websockets`. What their client fakes stays faked and
nothing more: the addresses, the scheme, the extension for templates, and that what an app raises is
raised in the test.
"""

import asyncio
import itertools
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import starlette.testclient as theirs
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from switchgear.http.asgi import AsgiHost
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings

httpx: Any = theirs.httpx  # type: ignore[attr-defined]  # whichever of two they have found

RUN = b"x-live-run"
SOON = 8.0  # seconds for an app to return once its client is done: the host grants 5
SETTINGS = ServerSettings(body_bytes=1 << 30, linger=0.0)

numbers = itertools.count(1)
servers: list["Served"] = []


class Loop(threading.Thread):
    """The event loop of all servers, in a thread of its own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.loop = asyncio.new_event_loop()
        self.start()

    def run(self) -> None:
        self.loop.run_forever()

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


looping: Loop | None = None


def wait(work: Coroutine[Any, Any, Any]) -> Any:
    global looping  # noqa: PLW0603 - made by the first client: most tests need none
    if looping is None:
        looping = Loop()
    return looping.wait(work)


class Record:
    """What one run of the app did that does not show on the wire."""

    def __init__(self, url: Any) -> None:
        self.scheme = url.scheme
        port = {"http": 80, "ws": 80}.get(url.scheme, 443) if url.port is None else url.port
        self.server = (url.raw_host.decode(), port)
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.closed: dict[str, Any] | None = None
        self.debug: dict[str, Any] | None = None
        self.trailers: list[Any] | None = None
        self.begun = False

    def outcome(self) -> BaseException | None:
        assert not self.begun or self.done.wait(SOON), "the app did not return"
        return self.error


class Served:
    """A server of ours for one client's app."""

    def __init__(self, app: Any, root_path: str, state: dict[str, Any], client: Any) -> None:
        self.app = app
        self.client = client
        self.records: dict[bytes, Record] = {}
        self.lifespan_error: BaseException | None = None
        self.gone = False
        self.host = AsgiHost(self._record, root_path, on_defect=lambda *_: None)
        self.host._lifespan.state = state
        self.server = Server(self.host, SETTINGS, drive=Drive.EAGER, on_defect=lambda *_: None)
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        wait(self.server.start(sock))
        servers.append(self)

    async def _record(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            try:
                await self.app({"type": "lifespan", "state": scope["state"]}, receive, send)
            except Exception as error:
                self.lifespan_error = error
                raise
            return
        headers = dict(scope["headers"])
        record = self.records.pop(headers[RUN])
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != RUN]
        scope["scheme"] = record.scheme
        scope["client"] = self.client
        scope["server"] = record.server

        async def observe(message: Any) -> None:
            if message["type"] == "http.response.debug":
                record.debug = message["info"]
                return
            if message["type"] == "websocket.close":
                record.closed = message
            elif message["type"] == "http.response.start" and message.get("trailers"):
                record.trailers = []
            elif message["type"] == "http.response.trailers" and record.trailers is not None:
                record.trailers += message.get("headers", ())
            await send(message)

        # No HTTP client shows trailers: they are taken here, and the wire is tested by ours.
        scope["extensions"] |= {"http.response.debug": {}, "http.response.trailers": {}}
        record.begun = True
        try:
            await self.app(scope, receive, observe)
        except Exception as error:
            record.error = error
            raise
        finally:
            record.done.set()

    def begin(self, url: Any) -> tuple[Record, tuple[bytes, bytes]]:
        """Account for a request; return its mark on the wire."""
        number = str(next(numbers)).encode()
        record = self.records[number] = Record(url)
        return record, (RUN, number)

    async def stop(self) -> None:
        self.gone = True  # a client that outlives its test gets another
        await self.server.stop()
        await self.host.stop(0.5)


class LiveStream(httpx.SyncByteStream):  # type: ignore[misc]  # whichever httpx it is
    """The body of an answer as it comes; at its end, what the app raised is raised."""

    def __init__(self, response: Any, finish: Callable[[], None]) -> None:
        self.response = response
        self.finish = finish

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.response.stream
        except httpx.TransportError:
            self.finish()
            raise
        self.finish()

    def close(self) -> None:
        self.response.close()
        self.finish()


class LiveTransport(httpx.BaseTransport):  # type: ignore[misc]  # likewise
    """Sends what TestClient asks for over a connection of its own."""

    def __init__(self, served: Callable[[], Served], *, raises: bool) -> None:
        self.served = served
        self.raises = raises

    def close(self) -> None:
        """Do nothing: every request has closed its connection."""

    def handle_request(self, request: Any) -> Any:
        served = self.served()
        record, mark = served.begin(request.url)
        if request.url.scheme in ("ws", "wss"):
            raise theirs._Upgrade(LiveSession(served, record, request, mark))
        target = request.url.copy_with(scheme="http", host="127.0.0.1", port=served.port)
        transport = httpx.HTTPTransport()
        response: Any = None

        def finish() -> None:
            transport.close()
            error = record.outcome()
            if error is not None and self.raises:
                raise error

        try:
            response = transport.handle_request(
                httpx.Request(
                    request.method,
                    target,
                    headers=[*request.headers.raw, mark],
                    stream=request.stream,
                    extensions={**request.extensions, "timeout": {"read": 20, "connect": 5}},
                )
            )
        except httpx.TransportError:
            finish()
            raise
        answer = httpx.Response(
            response.status_code,
            headers=[pair for pair in response.headers.raw if pair[0] != b"date"],
            stream=LiveStream(response, finish),
            request=request,
        )
        if record.trailers is not None:
            answer.extensions["http.response.trailers"] = record.trailers
        if record.debug is not None:
            answer.extensions["http.response.debug"] = record.debug
            for name in ("template", "context"):
                if name in record.debug:
                    setattr(answer, name, record.debug[name])
        return answer


class LiveSession(theirs.WebSocketTestSession):
    """A WebSocket, open over a socket."""

    def __init__(self, served: Served, record: Record, request: Any, mark: Any) -> None:
        self.served = served
        self.record = record
        self.request = request
        self.mark = mark

    def __enter__(self) -> "LiveSession":
        headers = self.request.headers
        ours = {"host", "connection", "upgrade", "user-agent", "sec-websocket-key",
                "sec-websocket-version", "sec-websocket-protocol"}  # fmt: skip
        offered = headers.get("sec-websocket-protocol")
        uri = str(self.request.url.copy_with(scheme="ws"))
        try:
            self.open = connect(
                uri,
                sock=socket.create_connection(("127.0.0.1", self.served.port)),
                additional_headers=[
                    *[(n, v) for n, v in headers.multi_items() if n.lower() not in ours],
                    (self.mark[0].decode(), self.mark[1].decode()),
                ],
                user_agent_header=headers.get("user-agent"),
                subprotocols=[one.strip() for one in offered.split(",")] if offered else None,
                compression=None,
                max_size=None,
                proxy=None,
            )
            self.socket = self.open.__enter__()
        except InvalidStatus as refused:
            self._refused(refused.response)
        self.accepted_subprotocol = self.socket.subprotocol  # type: ignore[assignment]  # theirs is None at first
        answer = self.socket.response
        assert answer is not None
        names = ("connection", "upgrade", "sec-websocket-accept", "sec-websocket-protocol")
        self.extra_headers = [  # type: ignore[assignment]  # likewise
            (name.lower().encode(), value.encode())
            for name, value in answer.headers.raw_items()
            if name.lower() not in names
        ]
        return self

    def _refused(self, answer: Any) -> None:
        error = self.record.outcome()
        if error is not None:
            raise error
        if self.record.closed is not None:
            code = self.record.closed.get("code") or 1000
            raise WebSocketDisconnect(code, self.record.closed.get("reason") or "")
        denial: Any = theirs.WebSocketDenialResponse  # in part a response of that httpx
        raise denial(
            status_code=answer.status_code,
            headers=[(n.encode(), v.encode()) for n, v in answer.headers.raw_items()],
            content=bytes(answer.body or b""),
        )

    def __exit__(self, *args: Any) -> None:
        self.open.__exit__(None, None, None)
        error = self.record.outcome()
        if error is not None:
            raise error

    def send(self, message: Any) -> None:
        if message["type"] == "websocket.receive":
            text = message.get("text")
            self.socket.send(message["bytes"] if text is None else text)
        elif message["type"] == "websocket.disconnect":
            self.socket.close(message.get("code", 1000), message.get("reason") or "")

    def receive(self) -> Any:
        try:
            data = self.socket.recv(SOON)
        except ConnectionClosed as closed:
            frame = closed.rcvd
            if frame is not None and frame.code == 1011 and (error := self.record.outcome()):
                raise error from None
            code, reason = (frame.code, frame.reason) if frame is not None else (1006, "")
            return {"type": "websocket.close", "code": code, "reason": reason}
        return {"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data}


class LiveTestClient(theirs.TestClient):
    """TestClient, as their tests use it."""

    def __init__(
        self, app: Any, *args: Any, raise_server_exceptions: bool = True, root_path: str = "",
        client: Any = ("testclient", 50000), **options: Any,
    ) -> None:  # fmt: skip
        options |= {"root_path": root_path, "client": client}
        super().__init__(app, *args, **options)
        self._transport = LiveTransport(self._served, raises=raise_server_exceptions)
        self._at: Served | None = None
        self._place = (root_path, client)

    def _served(self) -> Served:
        if self._at is None or self._at.gone:
            self._at = Served(self.app, self._place[0], self.app_state, self._place[1])
        return self._at

    def __enter__(self) -> "LiveTestClient":
        served = self._served()
        try:
            wait(served.host.start())
        finally:
            if served.lifespan_error is not None:
                raise served.lifespan_error
        return self

    def __exit__(self, *args: Any) -> None:
        served = self._served()
        try:
            wait(served.stop())
        finally:
            servers.remove(served)
            if served.lifespan_error is not None:
                raise served.lifespan_error


theirs.TestClient = LiveTestClient  # type: ignore[misc]  # what this plugin is for


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    while servers:
        wait(servers.pop().stop())
