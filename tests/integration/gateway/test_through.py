"""Through a gateway to services and back, on real sockets, by clients that speak raw bytes."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from msgspec import Struct
from starlette.requests import Request as StarletteRequest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from switchgear import App, Call, Code, Fault, Request, Response
from switchgear.gateway.settings import GatewaySettings
from switchgear.http.headers import Headers
from switchgear.http.message import StreamResponse, json_response
from tests.integration.http.harness import Answer, Raw, answers, ask
from tests.support.bodies import Stand, quick, standing

pytestmark = pytest.mark.timeout(60)


class Note(Struct):
    text: str


class Work:
    """What handlers under test did, and what lets them go on."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.ended: list[str] = []
        self.go = asyncio.Event()


def community(work: Work) -> App:
    app = App("toys")

    @app.get("/echo", public=True)
    async def echo(request: Request, call: Call[Request]) -> Response:
        told = {
            "headers": [list(pair) for pair in request.headers],
            "peer": request.peer,
            "scheme": request.scheme,
            "trace": call.trace.trace_id if call.trace else None,
        }
        own = Headers({"x-own": "1", "switchgear-fault": "{}", "server": "toys"})
        return json_response(told, 200, own)

    @app.post("/notes", public=True)
    async def note(new: Note) -> Note:
        work.calls.append(new.text)
        return new

    @app.get("/slow", public=True)
    async def slow() -> None:
        work.calls.append("slow")
        await asyncio.sleep(30)

    @app.get("/long", public=True, deadline="60s")
    async def long() -> str:
        work.calls.append("long")
        await asyncio.sleep(4)
        return "long"

    @app.get("/stubborn", public=True)
    async def stubborn() -> str:
        work.calls.append("stubborn")
        while not work.go.is_set():
            try:
                await work.go.wait()
            except asyncio.CancelledError:
                work.ended.append("ignored")
        return "too late"

    @app.get("/broken", public=True)
    async def broken() -> str:
        work.calls.append("broken")
        raise ZeroDivisionError("the secret of /broken")

    @app.get("/refusing", public=True)
    async def refusing() -> str:
        raise Fault(Code.UNAVAILABLE, "the secret of /refusing", origin="10.1.2.3:5432")

    @app.get("/mine", scope="read")
    async def mine() -> str:
        return "mine"

    @app.get("/stream", public=True)
    async def stream() -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"tick\n"
                    await asyncio.sleep(0.01)
            finally:
                work.ended.append("stream")

        return StreamResponse.of(pieces(), headers={"content-type": "text/event-stream"})

    app.mount("/shop", shop(work))
    return app


def shop(work: Work) -> FastAPI:
    api = FastAPI()

    @api.get("/who")
    async def who(request: StarletteRequest) -> dict[str, Any]:
        return {
            "client": request.client.host if request.client else None,
            "url": str(request.url),
            "headers": sorted(name for name in request.headers if name.startswith("switchgear")),
        }

    @api.get("/")
    async def home() -> str:
        return "home"

    @api.post("/items")
    async def items(item: dict[str, str]) -> None: ...

    @api.get("/pieces")
    async def pieces() -> StreamingResponse:
        async def make() -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"

        return StreamingResponse(make(), headers={"switchgear-fault": '{"code":"internal"}'})

    @api.websocket("/talk")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        while (said := await socket.receive_text()) != "enough":
            await socket.send_text(said.upper())
        await socket.close(4001, "enough")

    @api.websocket("/closed")
    async def closed(socket: WebSocket) -> None:
        await socket.close()

    return api


def http(target: str, method: str = "GET", body: bytes = b"", *lines: str) -> bytes:
    fields = ["Host: shop.example", "Connection: close", *lines]
    if body:
        fields += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    head = [f"{method} {target} HTTP/1.1", *fields, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


async def get(stand: Stand, target: str, *lines: str, method: str = "GET") -> Answer:
    (found,) = await ask(stand.port, http(target, method, b"", *lines), (method,))
    return found


async def post(stand: Stand, target: str, body: bytes, *lines: str) -> Answer:
    (found,) = await ask(stand.port, http(target, "POST", body, *lines), ("POST",))
    return found


def problem(found: Answer) -> dict[str, Any]:
    assert found.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = json.loads(found.body)
    assert told["status"] == found.status
    return told


async def statistics(stand: Stand) -> dict[str, Any]:
    (door,) = [one for one in stand.running if one.context.name == "gateway"]
    told: dict[str, Any] = await door.context.answers["upstreams"](None)
    return told


async def idle(stand: Stand) -> None:
    """Wait until no permit is out any more."""
    async with asyncio.timeout(5):
        while True:
            told = await statistics(stand)
            out = [one["out"] for one in told["service"]["endpoints"].values()]
            out += [gate["out"] for gate in told["gates"].values()]
            if not any(out):
                return
            await asyncio.sleep(0.01)


async def test_nothing_is_smuggled_in_or_out(tmp_path: Path) -> None:
    lines = (
        "switchgear-token: x", "Switchgear-Deadline-Ms: 1", "switchgear_token: x",
        "X-Forwarded-For: 1.2.3.4", "X_Forwarded_For: 1.2.3.4", "X-Forwarded-Proto: https",
        "X-User-Id: admin", "Forwarded: for=1.2.3.4", "X-Real-IP: 1.2.3.4", "X-Own: kept",
        "X-Request-Id: 0123456789", "TE: trailers",
    )  # fmt: skip
    async with standing(tmp_path, community(Work()), "service", "gateway") as stand:
        found = await get(stand, "/echo", *lines)
        assert (found.status, found.headers["x-own"]) == (200, "1")
        assert not {"server", "switchgear-fault"} & found.headers.keys()
        assert found.headers["x-request-id"] == "0123456789"
        told = json.loads(found.body)
        assert (told["peer"], told["scheme"]) == ("127.0.0.1", "http")
        parent = dict(told["headers"]).pop("traceparent")
        assert parent.split("-")[1] == told["trace"]
        assert sorted(map(tuple, told["headers"])) == sorted(
            [
                ("host", "shop.example"),
                ("x-own", "kept"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-host", "shop.example"),
                ("x-forwarded-proto", "http"),
                ("x-request-id", "0123456789"),
                ("traceparent", parent),
                ("via", "1.1 switchgear"),
            ]
        )


async def test_a_mounted_application_sees_its_client_and_nothing_of_ours(tmp_path: Path) -> None:
    async with standing(tmp_path, community(Work()), "service", "gateway") as stand:
        told = json.loads((await get(stand, "/shop/who")).body)
        assert told == {"client": "127.0.0.1", "url": "http://shop.example/shop/who", "headers": []}
        found = await get(stand, "/shop/pieces")
        assert (found.status, found.body) == (200, b"onetwo")
        assert "switchgear-fault" not in found.headers
        assert (await get(stand, "/shop/")).body == b'"home"'
        assert (await get(stand, "/shop")).status in (200, 307)  # as the application has it
        assert problem(await get(stand, "/shopx"))["code"] == "not_found"
        assert (await get(stand, "/shop//who")).status == 200
        assert problem(await get(stand, "/shop/..%2fmine"))["reason"] == "escape"
        assert problem(await get(stand, "/shop%2Fwho"))["reason"] == "escape"


async def test_head_is_get_without_its_body(tmp_path: Path) -> None:
    async with standing(tmp_path, community(Work()), "service", "gateway") as stand:
        for target in ("/echo", "/health/live", "/openapi.json"):
            whole, head = await get(stand, target), await get(stand, target, method="HEAD")
            assert (head.status, head.body) == (200, b"")
            if target != "/echo":
                assert head.headers["content-length"] == str(len(whole.body)), target


async def test_refusals_say_what_and_nothing_internal(tmp_path: Path) -> None:
    async with standing(tmp_path, community(Work()), "service", "gateway") as stand:
        refused = [
            (await get(stand, "/nothing"), 404),
            (await get(stand, "/echo", method="POST"), 405),
            (await get(stand, "/mine"), 401),
            (await get(stand, "/mine", "Authorization: Bearer a.b.c"), 401),
            (await get(stand, "/broken"), 500),
            (await get(stand, "/refusing"), 503),
            (await post(stand, "/notes", b"{"), 400),
            (await post(stand, "/notes", b'{"text":1}'), 422),
            (await post(stand, "/notes", b'{"text":"a"}', "Content-Type: text/html"), 400),
            *((one, 400) for one in await ask(stand.port, b"GET / HTTP/1.1\r\n\r\n")),
            *((one, 505) for one in await ask(stand.port, b"GET / HTTP/3.0\r\nHost: a\r\n\r\n")),
        ]
        for found, status in refused:
            assert found.status == status, found
            told = problem(found)
            assert found.headers["x-content-type-options"] == "nosniff"
            assert not [name for name in found.headers if "switchgear" in name]
            words = json.dumps(told) + str(found.headers)
            for internal in ("secret", "10.1.2.3", "service-1", "Traceback", ".py", "switchgear"):
                assert internal not in words, words
        (line,) = [one for one in stand.logged("request") if one["path"] == "/refusing"]
        assert (line["fault"], line["detail"]) == ("unavailable", "the secret of /refusing")
        (defect,) = stand.logged("defect")
        assert "ZeroDivisionError: the secret of /broken" in defect["traceback"]


async def test_a_form_of_somebody_elses_page_is_no_json(tmp_path: Path) -> None:
    work = Work()
    async with standing(tmp_path, community(work), "service", "gateway") as stand:
        body = b'{"text":"a"}'
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            asked = b"POST /notes HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: %b\r\n"
            asked += b"Content-Length: %d\r\n\r\n%b"
            (found,) = await ask(stand.port, asked % (kind.encode(), len(body), body), ("POST",))
            assert problem(found)["detail"] == "Send JSON, with content-type: application/json."
            assert found.status == 415
        assert work.calls == []


async def test_a_slow_handler_is_tried_at_the_other_process_and_then_left_alone(
    tmp_path: Path,
) -> None:
    """Its process answers that it is late: that counts against the route there, and no other."""
    work = Work()
    async with standing(tmp_path, community(work), "service", "service", "gateway") as stand:
        found = await get(stand, "/slow")
        assert problem(found)["code"] == "deadline_exceeded"
        assert len(work.calls) == 3
        await asyncio.gather(*(get(stand, "/slow") for _ in range(12)))
        routes = (await statistics(stand))["service"]["routes"]
        assert routes["GET /slow"]["breaker"]["state"] == "open"
        ways = routes["GET /slow"]["endpoints"].values()
        assert "open" in {way["state"] for way in ways}
        assert routes["GET /echo"]["breaker"]["state"] == "closed"
        assert (await get(stand, "/echo")).status == 200
        assert stand.logged("breaker")


async def test_who_sends_slowly_harms_nobody_else(tmp_path: Path) -> None:
    """As slowly as the limits allow, until the deadline of the route has passed."""
    work = Work()
    async with standing(tmp_path, community(work), "service", "gateway") as stand:

        async def drip(target: str) -> bytes:
            client = await Raw.to(stand.port)
            head = http(target, "POST", b"x" * 100_000)[:-100_000]
            await client.send(head)
            answering = asyncio.ensure_future(client.rest())
            while not answering.done():
                client.writer.write(b" " * 500)
                await asyncio.sleep(0.2)
            await client.close()
            return answering.result()

        targets = ["/notes"] * 8 + ["/shop/items"] * 8
        for told in await asyncio.gather(*map(drip, targets)):
            assert told.startswith((b"HTTP/1.1 504 ", b"HTTP/1.1 408 ")), told
        routes = (await statistics(stand))["service"]["routes"]
        for name in ("POST /notes", "* /shop/*"):
            assert routes[name]["breaker"]["state"] == "closed"
            assert {way["state"] for way in routes[name]["endpoints"].values()} == {"closed"}
        assert (await post(stand, "/notes", b'{"text":"a"}')).status == 201
        await idle(stand)


async def test_who_sends_slowly_on_many_connections_leaves_room_for_others(tmp_path: Path) -> None:
    """Each of his requests has a place at the process for as long as it is under way."""
    settings = quick(
        gateway=GatewaySettings(endpoint_permits=16, trusted_proxies=("127.0.0.1/32",))
    )
    async with standing(
        tmp_path, community(Work()), "service", "gateway", settings=settings
    ) as stand:
        head = http("/notes", "POST", b"x" * 100_000, "X-Forwarded-For: 10.0.0.1")[:-99_999]
        slow = [await Raw.to(stand.port) for _ in range(40)]
        for one in slow:
            await one.send(head)
        async with asyncio.timeout(5):
            while True:
                (told,) = (await statistics(stand))["service"]["endpoints"].values()
                if told["refused"]:
                    break
                await asyncio.sleep(0.01)
        others = [get(stand, "/echo", f"X-Forwarded-For: 10.0.0.{last}") for last in (2, 3, 4)]
        assert [found.status for found in await asyncio.gather(*others)] == [200] * 3
        assert told["out"] == 13  # all that is before the reserve, and a place in that
        for one in slow:
            await one.close()
        await idle(stand)


async def test_a_route_may_take_what_its_deadline_says(tmp_path: Path) -> None:
    work = Work()
    async with standing(tmp_path, community(work), "service", "gateway") as stand:
        assert (await get(stand, "/long")).body == b'"long"'
        assert work.calls == ["long"]


async def test_who_ignores_being_called_off_costs_its_client_nothing_more(tmp_path: Path) -> None:
    work = Work()
    async with standing(tmp_path, community(work), "service", "gateway") as stand:
        loop = asyncio.get_running_loop()
        began = loop.time()
        found = await get(stand, "/stubborn", "grpc-timeout: 300m")
        assert found.status == 504
        assert loop.time() - began < 2.0
        assert "ignored" in work.ended
        assert [(await get(stand, "/echo")).status for _ in range(3)] == [200] * 3
        work.go.set()
        await asyncio.sleep(0.05)
        assert [(await get(stand, "/echo")).status for _ in range(3)] == [200] * 3
        await idle(stand)


async def test_a_client_that_leaves_a_stream_gives_everything_back(tmp_path: Path) -> None:
    work = Work()
    async with standing(tmp_path, community(work), "service", "gateway") as stand:
        client = await Raw.to(stand.port)
        await client.send(http("/stream"))
        assert b"tick" in await client.until(b"tick\n")
        told = await statistics(stand)
        assert [one["out"] for one in told["service"]["endpoints"].values()] == [1]
        await client.close()
        await idle(stand)
        async with asyncio.timeout(5):
            while work.ended != ["stream"]:
                await asyncio.sleep(0.01)


async def test_a_killed_process_costs_what_it_held_and_no_more(tmp_path: Path) -> None:
    work = Work()
    async with standing(tmp_path, community(work), "service", "service", "gateway") as stand:
        first = stand.running[0]
        await first.kill()
        for _ in range(20):
            assert (await get(stand, "/echo")).status == 200
        await stand.running[1].kill()
        loop = asyncio.get_running_loop()
        began = loop.time()
        found = await get(stand, "/echo")
        assert (found.status, found.headers["retry-after"]) == (503, "1")
        assert loop.time() - began < 0.3
        ready = await get(stand, "/health/ready")
        assert ready.status == 503
        assert json.loads(ready.body)["status"] == "unready"
        await stand.start("service", 1, generation=2)
        assert (await get(stand, "/echo")).status == 200


async def test_a_gateway_that_leaves_is_unready_and_answers_until_it_drains(tmp_path: Path) -> None:
    async with standing(tmp_path, community(Work()), "service", "gateway") as stand:
        assert (await get(stand, "/health/ready")).status == 200
        stand.running[1].context.drain(5.0, after=3600.0)
        assert (await get(stand, "/health/ready")).status == 503
        assert (await get(stand, "/echo")).status == 200


async def test_readiness_names_what_is_degraded_and_says_no_more(tmp_path: Path) -> None:
    async with standing(tmp_path, community(Work()), "service", "gateway") as stand:
        async with asyncio.timeout(5):
            while not stand.running[0].degraded:
                await asyncio.sleep(0.01)
        assert "127.0.0.1" in stand.running[0].degraded[0]
        found = await get(stand, "/health/ready")
        assert found.status == 200
        assert json.loads(found.body) == {"status": "ready", "degraded": ["accounts", "database"]}
        assert problem(await get(stand, "/health/ready", method="POST"))["status"] == 405


async def test_a_service_answers_nobody_but_a_gateway(tmp_path: Path) -> None:
    work = Work()
    async with standing(tmp_path, community(work), "service") as stand:
        path = stand.running[0].context.post.endpoint.removeprefix("unix:")
        assert Path(path).stat().st_mode & 0o777 == 0o600
        for lines in ((), ("switchgear-token: x",), ("switchgear-token: boot.99.e30=.00",)):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(http("/echo", "GET", b"", *lines))
            (found,) = answers(await reader.read())
            writer.close()
            assert found.status == 401
            assert problem(found)["detail"] == "This service answers only through its gateway."


async def test_a_head_that_the_gateway_took_is_not_too_long_for_a_service(tmp_path: Path) -> None:
    async with standing(tmp_path, community(Work()), "service", "gateway") as stand:
        many = [f"X-{number}: 1" for number in range(98)]
        assert (await get(stand, "/echo", *many)).status == 200
        long = f"X-Long: {'x' * 32_000}"
        assert (await get(stand, "/echo", long)).status == 200
        assert (await get(stand, "/echo", *many, "X-One: 1", "X-Too-Many: 1")).status == 431


# WebSockets


async def test_a_websocket_speaks_through_the_gateway(tmp_path: Path) -> None:
    settings = quick(gateway=GatewaySettings(endpoint_permits=1))
    async with standing(
        tmp_path, community(Work()), "service", "gateway", settings=settings
    ) as stand:
        base = f"ws://127.0.0.1:{stand.port}/shop"
        async with connect(f"{base}/talk") as first, connect(f"{base}/talk") as second:
            for socket in (first, second):
                await socket.send("hello")
                assert await socket.recv() == "HELLO"
            # Sessions hold no permit of those for calls.
            assert (await get(stand, "/echo")).status == 200
            await idle(stand)
            await first.send("x" * 500_000)
            assert await first.recv() == "X" * 500_000
            await first.send("enough")
            with pytest.raises(ConnectionClosed) as closed:
                await first.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")
        (line, *_) = [one for one in stand.logged("request") if one["route"] == "* /shop/*"]
        assert line["status"] == 101


async def test_sessions_at_their_most_leave_descriptors_for_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each needs two, and none that a request onward would need."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    async with standing(tmp_path, community(Work()), "gateway") as stand:
        (line,) = stand.logged("fewer_connections")
        onward = 3 * stand.settings.gateway.endpoint_permits
        sessions = stand.settings.http.sessions
        assert line["now"] + sessions + onward + 128 == 4096


async def test_a_websocket_that_is_refused_is_an_ordinary_answer(tmp_path: Path) -> None:
    async with standing(tmp_path, community(Work()), "service", "gateway") as stand:
        base = f"ws://127.0.0.1:{stand.port}"
        for target, status in (("/shop/closed", 403), ("/shop/nothing", 403), ("/echo", 200)):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(base + target):
                    pass
            assert refused.value.response.status_code == status, target
        upgrade = ("Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13")
        asked = http("/shop/talk", "GET", b"", *upgrade).replace(b"Connection: close\r\n", b"")
        client = await Raw.to(stand.port)
        await client.send(asked)
        assert b" 400 " in await client.until(b"\r\n")
        await client.close()
        assert (await get(stand, "/echo")).status == 200


async def test_a_drained_gateway_does_not_wait_for_sessions(tmp_path: Path) -> None:
    async with (
        standing(tmp_path, community(Work()), "service", "gateway") as stand,
        connect(f"ws://127.0.0.1:{stand.port}/shop/talk") as socket,
    ):
        await socket.send("hello")
        assert await socket.recv() == "HELLO"
        began = asyncio.get_running_loop().time()
        await stand.running[1].drain()
        assert asyncio.get_running_loop().time() - began < 3.0
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
