"""Forms, uploads and sessions of hosted apps, as httpx sends them over a socket."""

import asyncio
from typing import Annotated, Any

import fastapi
import httpx
import pytest
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from switchgear.http.settings import ServerSettings
from tests.integration.asgi.hosts import browsing, hosted

pytestmark = pytest.mark.usefixtures("loop_factory")

PHOTO = bytes(range(256)) * 8192  # 2 MiB: more than a framework keeps in memory
ROOMY = ServerSettings(body_bytes=4 << 20)


async def told(request: Request) -> Response:
    """Say what a form holds."""
    read: list[Any] = []
    async with request.form() as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                data = await value.read()
                whole = data == PHOTO or data.decode()
                read.append([name, value.filename, value.content_type, len(data), whole])
            else:
                read.append([name, value])
    return JSONResponse(read)


@pytest.mark.parametrize("chunked", [False, True])
async def test_files_and_fields_of_a_multipart_form(loop_factory: Any, chunked: bool) -> None:
    app = Starlette(routes=[Route("/", told, methods=["POST"])])
    async with browsing(app, settings=ROOMY) as client:
        asked = client.build_request(
            "POST",
            "/",
            data={"title": "Größe & Farbe", "tag": ["a", "b"]},
            files={"photo": ("ä b.png", PHOTO, "image/png"), "note": ("n", b"", "text/plain")},
        )
        if chunked:
            whole = asked.read()

            async def slowly() -> Any:
                for at in range(0, len(whole), 50_000):
                    yield whole[at : at + 50_000]
                    await asyncio.sleep(0)

            kind = asked.headers["content-type"]
            asked = client.build_request(
                "POST", "/", content=slowly(), headers={"content-type": kind}
            )
            assert asked.headers["transfer-encoding"] == "chunked"
        got = await client.send(asked)
        assert (got.status_code, got.json()) == (200, [
            ["title", "Größe & Farbe"], ["tag", "a"], ["tag", "b"],
            ["photo", "ä b.png", "image/png", len(PHOTO), True], ["note", "n", "text/plain", 0, ""],
        ])  # fmt: skip


async def test_fields_of_an_urlencoded_form(loop_factory: Any) -> None:
    app = Starlette(routes=[Route("/", told, methods=["POST"])])
    async with browsing(app) as client:
        sent = {"a": "1 + 1 = 2 & ü", "b": ["", "%"]}
        got = await client.post("/", data=sent)
        assert got.json() == [["a", "1 + 1 = 2 & ü"], ["b", ""], ["b", "%"]]
        assert (await client.post("/", data={})).json() == []


async def test_forms_of_fastapi(loop_factory: Any) -> None:
    app = fastapi.FastAPI()

    @app.post("/upload")
    async def upload(
        title: Annotated[str, fastapi.Form()], photo: fastapi.UploadFile
    ) -> dict[str, Any]:
        return {"title": title, "name": photo.filename, "same": await photo.read() == PHOTO}

    async with browsing(app, settings=ROOMY) as client:
        files = {"photo": ("p.png", PHOTO)}
        got = await client.post("/upload", data={"title": "t"}, files=files)
        assert got.json() == {"title": "t", "name": "p.png", "same": True}
        lacking = await client.post("/upload", files=files)
        assert lacking.status_code == 422
        assert [error["loc"] for error in lacking.json()["detail"]] == [["body", "title"]]


async def test_an_upload_over_the_limit_is_refused_whatever_the_framework_makes_of_it(
    loop_factory: Any,
) -> None:
    app = Starlette(routes=[Route("/", told, methods=["POST"])])
    small = ServerSettings(body_bytes=100_000)
    async with hosted(app, small, lifespan=True) as at, httpx.AsyncClient() as client:
        got = await client.post(at.url, files={"photo": ("p", b"x" * 100_000)})
        assert got.status_code == 413
        assert (await client.post(at.url, files={"photo": ("p", b"x" * 90_000)})).status_code == 200


async def test_a_session_is_kept_in_a_signed_cookie(loop_factory: Any) -> None:
    async def count(request: Request) -> Response:
        request.session["seen"] = request.session.get("seen", 0) + 1
        return JSONResponse(request.session)

    async def leave(request: Request) -> Response:
        request.session.clear()
        return Response(status_code=204)

    sessions = Middleware(SessionMiddleware, secret_key="not a secret", max_age=60)
    app = Starlette(routes=[Route("/", count), Route("/leave", leave)], middleware=[sessions])
    async with browsing(app) as client:
        for seen in (1, 2, 3):
            got = await client.get("/")
            assert got.json() == {"seen": seen}
            (cookie,) = got.headers.get_list("set-cookie")
            assert "httponly" in cookie
            assert "Max-Age=60" in cookie
        signed = client.cookies["session"]
        client.cookies.clear()
        theirs = await client.get("/", headers={"cookie": f"other=1; session={signed}"})
        assert theirs.json() == {"seen": 4}
        client.cookies.clear()
        forged = await client.get("/", headers={"cookie": f"session=x{signed}"})
        assert forged.json() == {"seen": 1}
        assert "session" in client.cookies
        await client.get("/leave")
        assert "session" not in client.cookies
