"""Hosted ASGI apps: FastAPI and bare ones, with anyio, task groups, timeouts and ContextVars."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import fastapi
import pytest
import websockets
from fastapi.responses import StreamingResponse
from websockets.asyncio.client import connect as theirs

from switchgear.core.ambient import current
from switchgear.http.asgi import AsgiHost
from switchgear.http.server import Drive
from switchgear.http.settings import ServerSettings
from switchgear.policy.fault import Code, Fault
from tests.integration.http.harness import Raw, answers, ask, serving

pytestmark = pytest.mark.usefixtures("loop_factory")

mark: ContextVar[str] = ContextVar("mark", default="")
JSON = "Content-Type: application/json\r\n"
BOTH = pytest.mark.parametrize("drive", list(Drive))


def get(path: str, *, last: bool = True) -> bytes:
    closing = "Connection: close\r\n" if last else ""
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{closing}\r\n".encode()


def post(path: str, body: bytes, head: str = "") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@asynccontextmanager
async def hosting(app: Any, *, drive: Drive = Drive.EAGER, **options: Any) -> AsyncIterator[Any]:
    host = AsgiHost(app)
    await host.start()
    async with serving(host, drive=drive, **options) as server:
        yield server
    await host.stop()
    assert host.running == 0


def make() -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    app.state.events = []

    @app.get("/items/{name}")
    async def item(name: str, q: str = "") -> dict[str, str]:
        before = mark.get()
        mark.set(name)
        async with asyncio.timeout(1), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 0)
        call = current()
        assert call is not None
        return {"name": name, "q": q, "before": before, "path": call.payload.path}

    @app.post("/sum")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.post("/size")
    async def size(request: fastapi.Request) -> int:
        return sum([len(part) async for part in request.stream()])

    @app.get("/thread")
    def thread() -> str:
        return "from a thread"

    @app.get("/stream")
    async def stream(request: fastapi.Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            try:
                for number in range(int(request.query_params["n"])):
                    yield b"%d;" % number + b"x" * 1000
                    await asyncio.sleep(0)
            finally:
                app.state.events.append("stream over")

        return StreamingResponse(parts())

    @app.get("/later")
    async def later(tasks: fastapi.BackgroundTasks) -> str:
        async def work() -> None:
            await asyncio.sleep(0.05)
            app.state.events.append("background over")

        tasks.add_task(work)
        return "now"

    @app.get("/defect")
    async def defect() -> None:
        raise ZeroDivisionError

    @app.get("/fault")
    async def fault() -> None:
        raise Fault(Code.UNAVAILABLE, "mail is down", retry_after=3)

    @app.get("/hang")
    async def hang() -> None:
        app.state.events.append("hanging")
        try:
            await asyncio.sleep(60)
        finally:
            app.state.events.append("called off")

    @app.websocket("/ws")
    async def socket(socket: fastapi.WebSocket) -> None:
        await socket.accept(subprotocol="b" if "b" in socket.scope["subprotocols"] else None)
        try:
            while True:
                message = await socket.receive_text()
                if message == "raise":
                    raise ZeroDivisionError
                if message == "close":
                    await socket.close(4001, "as asked")
                    return
                await socket.send_text(message)
        except fastapi.WebSocketDisconnect as gone:
            app.state.events.append(gone.code)

    @app.websocket("/no")
    async def no(socket: fastapi.WebSocket) -> None:
        await socket.close()

    return app


@BOTH
async def test_fastapi_answers(loop_factory: Any, drive: Drive) -> None:
    async with hosting(make(), drive=drive) as server:
        got = await ask(
            server.port, get("/items/%C3%A4?q=1", last=False) + get("/items/b"), ["GET"] * 2
        )
        assert json.loads(got[0].body) == {
            "name": "ä", "q": "1", "before": "", "path": "/items/%C3%A4",
        }  # fmt: skip
        assert json.loads(got[1].body)["before"] == ""
        (got_sum,) = await ask(server.port, post("/sum", b"[1,2]", JSON), ["POST"])
        assert got_sum.body == b"3"
        (bad,) = await ask(server.port, post("/sum", b"[1,", JSON), ["POST"])
        assert bad.status == 422
        assert (await ask(server.port, get("/nowhere")))[0].status == 404
        assert (await ask(server.port, get("/thread")))[0].body == b'"from a thread"'


async def test_no_context_is_seen_by_another_request(loop_factory: Any) -> None:
    async with hosting(make()) as server:
        wire = b"".join(get(f"/items/{n}", last=n == 3) for n in range(4))
        got = await asyncio.gather(*[ask(server.port, wire, ["GET"] * 4) for _ in range(25)])
    assert {json.loads(answer.body)["before"] for batch in got for answer in batch} == {""}


async def test_bodies_stream_both_ways(loop_factory: Any) -> None:
    async with hosting(make()) as server:
        (got,) = await ask(server.port, post("/size", b"x" * 900_000), ["POST"])
        assert got.body == b"900000"
        (stream,) = await ask(server.port, get("/stream?n=2000"))
        assert len(stream.body) > 2_000_000
        assert stream.headers["transfer-encoding"] == "chunked"


async def test_a_slow_client_holds_the_app(loop_factory: Any) -> None:
    app = make()
    async with hosting(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(get("/stream?n=20000"))
        await asyncio.sleep(0.4)
        assert app.state.events == []
        size = 0
        while part := await reader.read(1 << 20):
            size += len(part)
        assert size > 20_000_000
        assert app.state.events == ["stream over"]
        writer.close()
        await writer.wait_closed()


@BOTH
async def test_a_client_who_leaves_calls_the_app_off(loop_factory: Any, drive: Drive) -> None:
    app = make()
    async with hosting(app, drive=drive) as server:
        hanging = await Raw.to(server.port)
        await hanging.send(get("/hang"))
        while app.state.events != ["hanging"]:
            await asyncio.sleep(0.01)
        await hanging.close()
        while app.state.events != ["hanging", "called off"]:
            await asyncio.sleep(0.01)
        streaming = await Raw.to(server.port)
        await streaming.send(get("/stream?n=1000000000"))
        await streaming.until(b"1;")
        await streaming.close()
        while app.state.events[-1] != "stream over":
            await asyncio.sleep(0.01)


async def test_background_tasks_outlive_the_answer(loop_factory: Any) -> None:
    app = make()
    async with hosting(app) as server:
        (got,) = await ask(server.port, get("/later"))
        assert got.body == b'"now"'
        assert app.state.events == []
    assert app.state.events == ["background over"]


async def test_faults_and_defects(loop_factory: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with hosting(make()) as server:
        with caplog.at_level(logging.ERROR, "switchgear.http"):
            (defect,) = await ask(server.port, get("/defect"))
        assert defect.status == 500
        assert defect.body == b"Internal Server Error"  # the app's own page
        assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
            ZeroDivisionError
        ]
        (fault,) = await ask(server.port, get("/fault"))
        assert (fault.status, fault.headers["retry-after"]) == (503, "3")


@pytest.mark.parametrize("path", [b"/size", b"/sum"], ids=["raised", "swallowed"])
async def test_a_body_beyond_the_limit_is_413_whatever_the_framework_says(
    loop_factory: Any, path: bytes
) -> None:
    async with hosting(make(), settings=ServerSettings(body_bytes=1000)) as server:
        wire = b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        wire += JSON.encode()
        wire += b"Transfer-Encoding: chunked\r\n\r\n"
        client = await Raw.to(server.port)
        await client.send(wire)
        await asyncio.sleep(0.02)
        await client.send(b"800\r\n" + b"x" * 2048 + b"\r\n0\r\n\r\n")
        (got,) = answers(await client.rest(), ["POST"])
        await client.close()
    assert got.status == 413


async def test_websockets(loop_factory: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = make()
    async with hosting(app) as server:
        url = f"ws://127.0.0.1:{server.port}"
        async with theirs(f"{url}/ws", subprotocols=["b"]) as socket:  # type: ignore[list-item]  # their alias
            assert socket.subprotocol == "b"
            for text in ("a", "é" * 100_000):
                await socket.send(text)
                assert await socket.recv() == text
        await asyncio.sleep(0.02)
        assert app.state.events == [1000]
        async with theirs(f"{url}/ws") as socket:
            await socket.send("close")
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as asked")
        async with theirs(f"{url}/ws") as socket:
            socket.transport.abort()
        await asyncio.sleep(0.02)
        assert app.state.events[-1] == 1006
        with caplog.at_level(logging.ERROR, "switchgear.http"):
            async with theirs(f"{url}/ws") as socket:
                await socket.send("raise")
                with pytest.raises(websockets.ConnectionClosed) as failed:
                    await socket.recv()
        assert failed.value.rcvd is not None
        assert failed.value.rcvd.code == 1011
        assert len([record for record in caplog.records if record.exc_info]) == 1
        with pytest.raises(websockets.InvalidStatus) as refused:
            await theirs(f"{url}/no")
        assert refused.value.response.status_code == 403


async def test_the_lifespan_surrounds_the_requests(loop_factory: Any) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[dict[str, str]]:
        events.append("up")
        yield {"greeting": "hello"}
        events.append("down")

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.get("/")
    async def root(request: fastapi.Request) -> str:
        events.append("asked")
        return str(request.state.greeting)

    async with hosting(app) as server:
        assert (await ask(server.port, get("/")))[0].body == b'"hello"'
    assert events == ["up", "asked", "down"]


async def test_an_app_that_fails_to_start_says_so(loop_factory: Any) -> None:
    @asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
        raise ZeroDivisionError("no database")
        yield

    with pytest.raises(RuntimeError, match="no database"):
        await AsgiHost(fastapi.FastAPI(lifespan=lifespan)).start()


async def test_a_bare_app_without_a_lifespan(loop_factory: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        if scope["path"] == "/silent":
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})
        if scope["path"] == "/half":
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            await asyncio.sleep(0.02)
            return
        await send({"type": "http.response.body", "body": body})
        assert (await receive())["type"] == "http.disconnect"

    defects: list[BaseException] = []
    async with hosting(app, on_defect=lambda error, _: defects.append(error)) as server:
        (got,) = await ask(server.port, post("/", b"abc"), ["POST"])
        assert (got.body, got.headers["x-a"]) == (b"abc", "b")
        assert (await ask(server.port, get("/silent")))[0].status == 500
        client = await Raw.to(server.port)
        await client.send(get("/half"))
        assert b"0\r\n\r\n" not in await client.rest()
        await client.close()
    assert len(defects) == 2
