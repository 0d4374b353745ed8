"""WebSockets of hosted apps, driven by the clients of `websockets`."""

import asyncio
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect as theirs

from switchgear.http.settings import SocketSettings
from tests.integration.asgi.hosts import hosted, until

pytestmark = pytest.mark.usefixtures("loop_factory")

ACCEPT = {"type": "websocket.accept"}


def connect(url: str, **options: Any) -> Any:
    return theirs(url, proxy=None, compression=None, **options)


def closing(error: websockets.ConnectionClosed) -> tuple[int, str]:
    assert error.rcvd is not None
    return error.rcvd.code, error.rcvd.reason


async def test_the_handshake_carries_what_both_sides_say(loop_factory: Any) -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        assert await receive() == {"type": "websocket.connect"}
        headers = [(b"X-Room", b"7"), (b"Set-Cookie", b"a=b"), (b"sec-websocket-accept", b"no")]
        await send({**ACCEPT, "subprotocol": "two", "headers": headers})
        await send({"type": "websocket.send", "text": "at once"})
        assert (await receive())["type"] == "websocket.disconnect"

    async with (
        hosted(app, root_path="/r") as at,
        connect(f"{at.ws}/r/%C3%A4?q=1", subprotocols=["one", "two"]) as socket,
    ):
        assert socket.subprotocol == "two"
        assert socket.response.headers["x-room"] == "7"
        assert socket.response.headers["set-cookie"] == "a=b"
        assert await socket.recv() == "at once"
    (scope,) = scopes
    assert (scope["type"], scope["scheme"], scope["path"]) == ("websocket", "ws", "/r/ä")
    assert (scope["query_string"], scope["root_path"]) == (b"q=1", "/r")
    assert scope["subprotocols"] == ["one", "two"]
    assert sorted(scope["extensions"]) == ["switchgear", "websocket.http.response"]
    assert "method" not in scope


async def test_messages_go_both_ways_and_pings_stay_unseen(loop_factory: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})

    async with hosted(app) as at, connect(at.ws) as socket:
        for message in ("text", b"bytes", "", b"", "é" * 100_000):
            await socket.send(message)
            await (await socket.ping())
            assert await socket.recv() == message


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"type": "websocket.send"}, TypeError),
        ({"type": "websocket.send", "text": None, "bytes": None}, TypeError),
        ({"type": "websocket.send", "text": b"bytes"}, TypeError),
        ({"type": "websocket.send", "bytes": "text"}, TypeError),
        ({"type": "websocket.send", "text": "\ud800"}, ValueError),
        ({"type": "websocket.close", "code": 1005}, ValueError),
        ({"type": "websocket.close", "code": 99}, ValueError),
        (ACCEPT, RuntimeError),
        ({"type": "websocket.http.response.start", "status": 404}, RuntimeError),
        ({"type": "http.response.start", "status": 200}, RuntimeError),
    ],
)
async def test_what_must_not_be_sent_raises_and_changes_nothing(
    loop_factory: Any, message: Any, error: type[Exception]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        with pytest.raises(error):
            await send(message)
        await send({"type": "websocket.send", "text": "still here"})
        await send({"type": "websocket.close", "code": 3333, "reason": "done"})
        for late in ({"type": "websocket.send", "text": "late"}, {"type": "websocket.close"}):
            with pytest.raises(RuntimeError):
                await send(late)

    async with hosted(app) as at, connect(at.ws) as socket:
        assert await socket.recv() == "still here"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closing(closed.value) == (3333, "done")
        await until(lambda: at.host.running == 0)
        assert at.defects == []


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_the_app_learns_how_its_peer_closed(loop_factory: Any, code: int) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        seen.append(await receive())
        with pytest.raises(OSError, match="closed"):
            await send({"type": "websocket.send", "text": "late"})
        await send({"type": "websocket.close"})  # as many handlers do in their `finally`
        raise ConnectionError("it has gone")

    async with hosted(app) as at:
        socket = await connect(at.ws)
        await socket.close(code, "so")
        await until(lambda: at.host.running == 0 and bool(seen))
        assert seen == [{"type": "websocket.disconnect", "code": code, "reason": "so"}]
        assert at.defects == []


async def test_a_peer_that_vanishes_is_1006_and_the_app_has_a_moment(
    loop_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchgear.http.asgi_socket.AFTERWARDS", 0.1)
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        try:
            seen.append((await receive())["code"])
            await asyncio.sleep(60)
        finally:
            seen.append("called off")

    async with hosted(app) as at:
        socket = await connect(at.ws)
        socket.transport.abort()
        await until(lambda: seen == [1006, "called off"])


async def test_closing_before_accepting_is_a_403(loop_factory: Any) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000})
        with pytest.raises(RuntimeError):
            await send(ACCEPT)
        seen.append(await receive())

    async with hosted(app) as at:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(at.ws)
        assert refused.value.response.status_code == 403
        await until(lambda: bool(seen))
        assert seen[0]["code"] == 1006
        assert at.defects == []


@pytest.mark.parametrize("pieces", [1, 3])
async def test_an_app_may_deny_by_an_answer_of_its_own(loop_factory: Any, pieces: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/plain"), (b"x-why", b"closed")]
        await send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
        for number in range(pieces):
            await send({"type": "websocket.http.response.body", "body": b"no ",
                        "more_body": number + 1 < pieces})  # fmt: skip
        for late in (ACCEPT, {"type": "websocket.close"}):
            with pytest.raises(RuntimeError):
                await send(late)

    async with hosted(app) as at:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(at.ws)
        answer = refused.value.response
        assert (answer.status_code, answer.headers["x-why"]) == (418, "closed")
        assert answer.body == b"no " * pieces
        await until(lambda: at.host.running == 0)
        assert at.defects == []


@pytest.mark.parametrize("how", ["raises", "returns"])
async def test_an_app_that_does_not_answer_the_handshake_is_a_500(
    loop_factory: Any, how: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if how == "raises":
            raise ZeroDivisionError

    async with hosted(app) as at:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(at.ws)
        assert refused.value.response.status_code == 500
        assert len(at.defects) == 1


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError, SystemExit])
async def test_what_an_app_raises_in_a_session_closes_it_by_1011(
    loop_factory: Any, error: type[BaseException]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        raise error

    async with hosted(app) as at, connect(at.ws) as socket:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closing(closed.value)[0] == 1011
        kind = error if issubclass(error, Exception) else RuntimeError
        await until(lambda: [type(told) for told in at.defects] == [kind])


async def test_a_subprotocol_that_nobody_offered_is_refused(loop_factory: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({**ACCEPT, "subprotocol": "mine"})

    async with hosted(app) as at:
        with pytest.raises(websockets.InvalidStatus):
            await connect(at.ws, subprotocols=["theirs"])
        assert [type(error) for error in at.defects] == [ValueError]


async def test_a_message_over_the_limit_is_1009(loop_factory: Any) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        seen.append(await receive())
        await send({"type": "websocket.send", "text": "taken"})
        seen.append(await receive())

    async with hosted(app, socket=SocketSettings(message_bytes=100)) as at:
        async with connect(at.ws) as socket:
            await socket.send("x" * 100)
            assert await socket.recv() == "taken"
            await socket.send("x" * 101)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.recv()
            assert closing(closed.value)[0] == 1009
        await until(lambda: len(seen) == 2)
    assert [one.get("code") for one in seen] == [None, 1009]


async def test_a_client_that_leaves_before_the_answer_ends_the_app(loop_factory: Any) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        seen.append("asked")
        seen.append(await receive())

    async with hosted(app) as at:
        client = await at.raw(
            "GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )  # fmt: skip
        await until(lambda: seen == ["asked"])
        await client.close()
        await until(lambda: len(seen) == 2)
    assert seen[1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
