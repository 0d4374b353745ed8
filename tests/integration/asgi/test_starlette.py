"""Apps of Starlette and FastAPI, as people write them, asked by httpx over a socket."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fastapi
import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect

from tests.integration.asgi.hosts import browsing, hosted, until

pytestmark = pytest.mark.usefixtures("loop_factory")


def star(*routes: Any, **options: Any) -> Starlette:
    return Starlette(routes=list(routes), **options)


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def test_every_class_of_response(loop_factory: Any, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_bytes(b"0123456789" * 100)

    async def parts() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number};"
            await asyncio.sleep(0)

    async def cookies(request: Request) -> Response:
        response = HTMLResponse("<p>")
        response.set_cookie("a", "1", httponly=True)
        response.set_cookie("b", "2")
        return response

    def made(response: Any) -> Any:
        async def endpoint(request: Request) -> Response:
            return response(request)  # type: ignore[no-any-return]  # whichever it is

        return endpoint

    app = star(
        Route("/json", made(lambda _: JSONResponse({"é": [1, None]}, 201))),
        Route("/go", made(lambda _: RedirectResponse("/json"))),
        Route("/stream", made(lambda _: StreamingResponse(parts()))),
        Route("/file", made(lambda _: FileResponse(tmp_path / "file.txt"))),
        Route("/none", made(lambda _: Response(status_code=204))),
        Route("/cookies", cookies),
    )
    async with browsing(app) as client:
        got = await client.get("/go", follow_redirects=True)
        assert (got.status_code, got.json()) == (201, {"é": [1, None]})
        assert (await client.get("/stream")).text == "0;1;2;"
        assert (await client.get("/none")).content == b""
        page = await client.get("/cookies")
        assert page.headers.get_list("set-cookie") == [
            "a=1; HttpOnly; Path=/; SameSite=lax", "b=2; Path=/; SameSite=lax",
        ]  # fmt: skip
        assert len((await client.get("/file")).content) == 1000
        head = await client.head("/file")
        assert (head.headers["content-length"], head.content) == ("1000", b"")
        part = await client.get("/file", headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, b"0123456789")
        assert part.headers["content-range"] == "bytes 10-19/1000"
        two = await client.get("/file", headers={"range": "bytes=0-1,998-999"})
        assert two.status_code == 206
        assert two.headers["content-type"].startswith("multipart/byteranges")
        assert (await client.get("/file", headers={"range": "bytes=5000-"})).status_code == 416
        assert (await client.post("/file")).status_code == 405


async def test_a_file_by_a_path_from_where_the_app_stands(
    loop_factory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file.txt").write_text("here")
    monkeypatch.chdir(tmp_path)

    async def relative(request: Request) -> Response:
        return FileResponse("file.txt")

    async with browsing(star(Route("/", relative))) as client:
        assert (await client.get("/")).text == "here"


async def test_static_files_are_sent_once(loop_factory: Any, tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("static")
    app = star(Mount("/static", StaticFiles(directory=tmp_path)))
    async with browsing(app) as client:
        first = await client.get("/static/a%20b.txt")
        assert first.text == "static"
        again = await client.get(
            "/static/a b.txt", headers={"if-none-match": first.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
        assert (await client.get("/static/%2e%2e/secret")).status_code in (400, 404)


async def test_mounts_and_the_root_path(loop_factory: Any) -> None:
    async def where(request: Request) -> Response:
        url = request.url_for("item", name="x")
        return JSONResponse([request.scope["root_path"], request.path_params["name"], url.path])

    inner = star(Route("/items/{name:path}", where, name="item"))
    app = star(Mount("/inner", inner))
    async with browsing(app, root_path="/outer") as client:
        got = (await client.get("/outer/inner/items/a/b")).json()
        assert got == ["/outer/inner", "a/b", "/outer/inner/items/x"]
    async with browsing(star(Route("/", hello)), root_path="/outer/") as client:
        assert (await client.get("/outer/")).text == "hello"


async def test_bodies_come_as_json_as_a_form_and_in_pieces(loop_factory: Any) -> None:
    async def sizes(request: Request) -> Response:
        return JSONResponse([len(part) async for part in request.stream()])

    async def echo(request: Request) -> Response:
        return JSONResponse([await request.json(), request.headers["content-type"]])

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 10_000
            await asyncio.sleep(0.01)

    app = star(Route("/sizes", sizes, methods=["POST"]), Route("/echo", echo, methods=["PUT"]))
    async with browsing(app) as client:
        assert sum((await client.post("/sizes", content=slowly())).json()) == 50_000
        assert (await client.put("/echo", json={"a": 1})).json() == [{"a": 1}, "application/json"]
        assert (await client.put("/echo", content=b"{")).status_code == 500


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        body = await request.body()
        response: Response = await call_next(request)
        response.headers["x-size"] = str(len(body))
        return response


async def test_the_usual_middleware(loop_factory: Any) -> None:
    async def big(request: Request) -> Response:
        return PlainTextResponse("x" * 5000 + (await request.body()).decode())

    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1"]),
        Middleware(CORSMiddleware, allow_origins=["https://a.example"], allow_methods=["PUT"]),
        Middleware(GZipMiddleware, minimum_size=100),
        Middleware(Stamp),
        Middleware(Stamp),
    ]
    app = star(Route("/", big, methods=["GET", "PUT"]), middleware=middleware)
    async with browsing(app) as client:
        got = await client.put("/", content=b"end", headers={"origin": "https://a.example"})
        assert got.text == "x" * 5000 + "end"
        assert got.headers["content-encoding"] == "gzip"
        assert got.headers["x-size"] == "3"
        assert got.headers["access-control-allow-origin"] == "https://a.example"
        asked = {"origin": "https://a.example", "access-control-request-method": "PUT"}
        assert (await client.options("/", headers=asked)).status_code == 200
        assert (await client.get("/", headers={"host": "b.example"})).status_code == 400
        async with client.stream("GET", "/") as raw:
            wire = b"".join([part async for part in raw.aiter_raw()])
        assert len(gzip.decompress(wire)) == 5000
    secure = star(Route("/", hello), middleware=[Middleware(HTTPSRedirectMiddleware)])
    async with browsing(secure) as client:
        went = await client.get("/a?b=c")
        assert (went.status_code, went.headers["location"].split(":")[0]) == (307, "https")


async def test_background_tasks_run_to_the_end_though_the_client_has_left(
    loop_factory: Any,
) -> None:
    done: list[str] = []

    async def work(name: str) -> None:
        await asyncio.sleep(0.05)
        done.append(name)

    async def one(request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(work, "one"))

    async def failing(request: Request) -> Response:
        tasks = BackgroundTasks([BackgroundTask(work, "two"), BackgroundTask(work, "three")])
        return PlainTextResponse("no", 500, background=tasks)

    app = star(Route("/one", one), Route("/failing", failing), middleware=[Middleware(Stamp)])
    async with hosted(app, lifespan=True) as at:
        for path, status in (("/one", 200), ("/failing", 500)):
            assert (await at.ask(path)).status == status
            assert done == []
        assert await at.server.drain()
        await at.host.stop()
        assert sorted(done) == ["one", "three", "two"]
        assert at.defects == []


async def test_exception_handlers_and_what_has_none(loop_factory: Any) -> None:
    async def teapot(request: Request) -> Response:
        raise HTTPException(418, "short and stout", {"x-spout": "yes"})

    async def broken(request: Request) -> Response:
        raise KeyError("nowhere")

    async def cut(request: Request) -> Response:
        async def parts() -> AsyncIterator[str]:
            yield "some"
            await asyncio.sleep(0.01)
            raise ZeroDivisionError

        return StreamingResponse(parts())

    async def sorry(request: Request, error: Exception) -> Response:
        return JSONResponse({"sorry": type(error).__name__}, 500)

    routes = [Route("/teapot", teapot), Route("/broken", broken), Route("/cut", cut)]
    async with hosted(star(*routes, exception_handlers={500: sorry}), lifespan=True) as at:
        got = await at.ask("/teapot")
        assert (got.status, got.headers["x-spout"]) == (418, "yes")
        own = await at.ask("/broken")
        assert (own.status, json.loads(own.body)) == (500, {"sorry": "KeyError"})
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.TransportError):
                await client.get(f"{at.url}/cut")
        assert [type(error) for error in at.defects] == [KeyError, ZeroDivisionError]


async def test_a_handler_sees_that_its_client_has_left(loop_factory: Any) -> None:
    seen: list[str] = []

    async def polling(request: Request) -> Response:
        while not await request.is_disconnected():
            seen.append("waits")
            await asyncio.sleep(0.01)
        seen.append("left")
        return PlainTextResponse("nobody")

    async def taking(request: Request) -> Response:
        try:
            await request.body()
        except (ClientDisconnect, asyncio.CancelledError):
            seen.append("left amid its body")
            raise
        raise AssertionError

    app = star(Route("/polling", polling), Route("/taking", taking, methods=["POST"]))
    async with hosted(app, lifespan=True) as at:
        client = await at.raw("GET /polling HTTP/1.1", "Host: a")
        await until(lambda: "waits" in seen)
        await client.close()
        await until(lambda: seen[-1] == "left")
        client = await at.raw("POST /taking HTTP/1.1", "Host: a", "Content-Length: 9", body=b"a")
        await asyncio.sleep(0.05)
        await client.close()
        await until(lambda: seen[-1] == "left amid its body")
        assert at.defects == []


async def test_socket_routes(loop_factory: Any) -> None:
    seen: list[int] = []

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        try:
            await socket.send_json({"hello": (await socket.receive_json())["name"]})
            await socket.send_bytes((await socket.receive_bytes())[::-1])
            async for text in socket.iter_text():
                await socket.send_text(text.upper())
            seen.append(0)
        except WebSocketDisconnect as gone:
            seen.append(gone.code)

    async def deny(socket: WebSocket) -> None:
        await socket.send_denial_response(JSONResponse({"why": "full"}, 503))

    app = star(WebSocketRoute("/talk", talk), WebSocketRoute("/deny", deny))
    async with hosted(app, lifespan=True) as at:
        async with connect(f"{at.ws}/talk", proxy=None) as socket:
            await socket.send('{"name":"ä"}')
            assert await socket.recv() == '{"hello":"ä"}'
            await socket.send(b"abc")
            assert await socket.recv() == b"cba"
            await socket.send("é")
            assert await socket.recv() == "É"
        await until(lambda: seen == [0])
        for path, status in (("/deny", 503), ("/nowhere", 403)):
            with pytest.raises(Exception, match=str(status)):
                await connect(f"{at.ws}{path}", proxy=None)
        assert at.defects == []


async def test_fastapi_dependencies_events_and_state(loop_factory: Any) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        seen.append("up")
        yield {"pool": ["a", "b"]}
        seen.append("down")

    app = fastapi.FastAPI(lifespan=lifespan)

    async def session() -> AsyncIterator[str]:
        seen.append("open")
        try:
            yield "session"
        finally:
            seen.append("closed")

    @app.get("/item/{number}")
    async def item(
        request: fastapi.Request, number: int, got: str = fastapi.Depends(session)
    ) -> dict[str, Any]:
        if number == 0:
            raise fastapi.HTTPException(404, "none")
        return {"number": number, "got": got, "pool": request.state.pool}

    @app.get("/events")
    async def events(got: str = fastapi.Depends(session)) -> StreamingResponse:
        async def tell() -> AsyncIterator[str]:
            number = 0
            try:
                while True:
                    yield f"data: {number}\n\n"
                    number += 1
                    await asyncio.sleep(0.001)
            finally:
                seen.append("events over")

        return StreamingResponse(tell(), media_type="text/event-stream")

    async with hosted(app, lifespan=True) as at, httpx.AsyncClient(base_url=at.url) as client:
        got = (await client.get("/item/7")).json()
        assert got == {"number": 7, "got": "session", "pool": ["a", "b"]}
        assert (await client.get("/item/0")).json() == {"detail": "none"}
        assert (await client.get("/item/x")).status_code == 422
        assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.")
        listener = await at.raw("GET /events HTTP/1.1", "Host: a")
        assert b"data: 1\n\n" in await listener.until(b"data: 2\n\n")
        await listener.close()
        await until(lambda: seen[-2:] == ["events over", "closed"])
        assert at.defects == []
    assert seen == ["up", *["open", "closed"] * 3, "open", "events over", "closed", "down"]
