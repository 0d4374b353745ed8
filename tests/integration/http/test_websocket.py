"""WebSockets against the `websockets` library, on both sides, and through a proxy (rule 30)."""

import asyncio
import time
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect as theirs
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as their_server
from websockets.typing import Origin, Subprotocol

from switchgear.core.consume import consume
from switchgear.http.frames import BINARY, TEXT, encode, encode_close
from switchgear.http.handshake import new_key
from switchgear.http.message import Request, Response
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings, SocketSettings
from switchgear.http.websocket import Message, WebSocket, connect, upgrade
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict
from tests.integration.http.harness import Raw, ask, call, listen, pooled, serving

pytestmark = pytest.mark.usefixtures("loop_factory")

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def echo(socket: WebSocket) -> None:
    while (message := await socket.receive()) is not None:
        await socket.send(message)


def endpoint(session: Any, verdicts: list[Verdict] | None = None, **options: Any) -> Any:
    async def handler(call: Call[Request]) -> Response:
        answer = upgrade(call.payload, session, **options)
        if verdicts is not None:
            answer.on_end(verdicts.append)
        return answer

    return handler


def url(server: Server, path: str = "/ws") -> str:
    return f"ws://127.0.0.1:{server.port}{path}"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 900_000])
async def test_messages_go_and_come(loop_factory: Any, size: int) -> None:
    verdicts: list[Verdict] = []
    async with serving(endpoint(echo, verdicts)) as server:
        async with theirs(url(server), compression=None, max_size=None) as socket:
            await socket.send("é" * (size // 2))
            assert await socket.recv() == "é" * (size // 2)
            await socket.send(b"x" * size)
            assert await socket.recv() == b"x" * size
            await socket.send([b"a", b"b", b"c"])  # in fragments
            assert await socket.recv() == b"abc"
            await (await socket.ping())
        await asyncio.sleep(0.01)
        assert verdicts == [GOOD]
        assert not server.connections


@pytest.mark.parametrize("drive", list(Drive))
@pytest.mark.parametrize("size", [30_000, 200_000])
async def test_what_came_before_the_switch_does_not_stop_what_comes_behind_it(
    loop_factory: Any, size: int, drive: Drive
) -> None:
    """While the handshake is thought over, no more is read than the buffer holds."""

    async def measure(socket: WebSocket) -> None:
        while (message := await socket.receive()) is not None:
            await socket.send(str(len(message)))

    opened = endpoint(measure)

    async def slow(call: Call[Request]) -> Response:
        await asyncio.sleep(0.1)
        answer: Response = await opened(call)
        return answer

    async with (
        serving(slow, drive=drive) as behind,
        pooled(behind.port) as pool,
        serving(pool, drive=Drive.EAGER) as before,
    ):
        for server in (behind, before):
            client = await Raw.to(server.port)
            message = encode(BINARY, b"x" * size, masked=True)
            await client.send(HANDSHAKE + b"\r\n" + message[:-5000])
            await client.until(b"\r\n\r\n")
            await client.send(message[-5000:] + encode(TEXT, b"last", masked=True))
            for told in (str(size).encode(), b"4"):
                await client.until(encode(TEXT, told, masked=False))
            await client.close()


@pytest.mark.parametrize(
    "caps", [{"sessions": 1}, {"sessions_per_address": 1}], ids=["in all", "of an address"]
)
async def test_a_session_that_has_ended_makes_room_for_another(
    loop_factory: Any, caps: dict[str, Any]
) -> None:
    async with serving(endpoint(echo), settings=ServerSettings(**caps)) as server:
        for end in ("closed", "vanished", "closed"):
            async with theirs(url(server)) as socket:
                assert (server.census.sessions.total, server.census.sessions.of("127.0.0.1")) == (
                    1,
                    1,
                )
                with pytest.raises(websockets.InvalidStatus, match="503"):
                    async with theirs(url(server)):
                        pass
                if end == "vanished":
                    socket.transport.abort()
            async with asyncio.timeout(5):
                while server.census.sessions.total:
                    await asyncio.sleep(0.01)
        assert server.census.sessions.of("127.0.0.1") == 0


async def test_frames_are_calls(loop_factory: Any) -> None:
    async def shout(call: Call[Message]) -> Message:
        assert isinstance(call.payload, str)
        return call.payload.upper()

    def make(message: Message) -> Call[Message]:
        return Call(message, time.perf_counter() + 1, key="one after another")

    async def session(socket: WebSocket) -> None:
        await consume(socket.frames(make), shout, lanes=4)

    async with serving(endpoint(session)) as server, theirs(url(server)) as socket:
        for number in range(20):
            await socket.send(f"a{number}")
        assert [await socket.recv() for _ in range(20)] == [f"A{n}" for n in range(20)]


@pytest.mark.parametrize("drive", [Drive.PARKED])
async def test_a_peer_who_vanishes_calls_the_session_off(loop_factory: Any, drive: Drive) -> None:
    verdicts: list[Verdict] = []
    called_off = asyncio.Event()

    async def session(socket: WebSocket) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            called_off.set()
            raise

    async with serving(endpoint(session, verdicts), drive=drive) as server:
        client = await Raw.to(server.port)
        await client.send(HANDSHAKE + b"\r\n")
        await client.until(b"\r\n\r\n")
        client.writer.transport.abort()
        await asyncio.wait_for(called_off.wait(), 5)
        await client.close()
        await asyncio.sleep(0.01)
        assert verdicts == [NEUTRAL]


async def test_a_session_that_fails_closes_with_1011(loop_factory: Any) -> None:
    verdicts: list[Verdict] = []
    defects: list[BaseException] = []

    async def session(socket: WebSocket) -> None:
        raise ZeroDivisionError

    async with (
        serving(
            endpoint(session, verdicts), on_defect=lambda error, _: defects.append(error)
        ) as server,
        theirs(url(server), compression=None) as socket,
    ):
        with pytest.raises(websockets.ConnectionClosedError) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1011
    assert [type(error) for error in defects] == [ZeroDivisionError]
    assert verdicts == [BAD]


@pytest.mark.parametrize(
    ("frame", "code"),
    [(b"\x81\x01a", 1002), (b"\x81\x81\0\0\0\0\xff", 1007), (b"\x82\xfe\xff\xff", 1009)],
)
async def test_a_broken_frame_is_answered_by_its_code(
    loop_factory: Any, frame: bytes, code: int
) -> None:
    seen: list[tuple[Any, int]] = []

    async def session(socket: WebSocket) -> None:
        seen.append((await socket.receive(), socket.code))

    limits = SocketSettings(message_bytes=1000)
    async with serving(endpoint(session, settings=limits)) as server:
        client = await Raw.to(server.port)
        await client.send(HANDSHAKE + b"\r\n" + frame)  # right behind the handshake
        got = await client.rest()
        await client.close()
    tail = got.partition(b"\r\n\r\n")[2]
    assert tail[:2] == bytes([0x88, len(tail) - 2])
    assert int.from_bytes(tail[2:4], "big") == code
    assert seen == [(None, code)]


async def test_what_came_before_a_broken_frame_is_delivered(loop_factory: Any) -> None:
    """However the peer's segments were cut: here all is one of them."""
    seen: list[Any] = []

    async def session(socket: WebSocket) -> None:
        while (message := await socket.receive()) is not None:
            seen.append(message)
        seen.append(socket.code)

    few = SocketSettings(queue=2)
    before = b"".join(b"\x81\x81\0\0\0\0%d" % number for number in range(6)) + b"\x89\x80\0\0\0\0"
    async with serving(endpoint(session, settings=few)) as server:
        client = await Raw.to(server.port)
        await client.send(HANDSHAKE + b"\r\n" + before + b"\x83\x80\0\0\0\0")
        got = await client.rest()
        await client.close()
    pong, close, code = (tail := got.partition(b"\r\n\r\n")[2])[:2], tail[2:3], tail[4:6]
    assert (pong, close, int.from_bytes(code, "big")) == (b"\x8a\0", b"\x88", 1002)
    assert seen == [*"012345", 1002]


async def test_large_messages_wait_with_the_peer(loop_factory: Any) -> None:
    """A queue of 64 was 64 MiB of each session, where its client need not even read."""
    go, seen = asyncio.Event(), 0

    async def session(socket: WebSocket) -> None:
        nonlocal seen
        await go.wait()
        while (message := await socket.receive()) is not None:
            assert message == large
            seen += 1

    large = bytes(range(256)) * 4096
    async with serving(endpoint(session)) as server:
        client = await Raw.to(server.port)
        await client.send(HANDSHAKE + b"\r\n")
        await client.until(b"\r\n\r\n")
        frames = encode(BINARY, large, masked=True) * 60
        client.writer.write(frames)
        await asyncio.sleep(1.0)
        # What is not here or in the kernel's buffers (some six MiB each) has not been taken.
        assert client.writer.transport.get_write_buffer_size() > 30 << 20
        go.set()
        await client.send(encode_close(1000, "", masked=True))
        assert (await client.rest())[:1] == b"\x88"
        assert seen == 60
        await client.close()


async def test_a_silent_peer_is_pinged_and_then_dropped(loop_factory: Any) -> None:
    async def session(socket: WebSocket) -> None:
        await socket.receive()

    quick = SocketSettings(ping_every=0.05, pong_within=0.05)
    async with serving(endpoint(session, settings=quick)) as server:
        client = await Raw.to(server.port)
        await client.send(HANDSHAKE + b"\r\n")
        got = await client.rest()
        await client.close()
        assert got.partition(b"\r\n\r\n")[2] == b"\x89\x00"
        async with theirs(url(server), compression=None) as socket:
            await asyncio.sleep(0.2)  # it answers pings by itself
            await socket.send("x")


async def test_a_peer_that_does_not_read_holds_the_sender(loop_factory: Any) -> None:
    sent = 0

    async def session(socket: WebSocket) -> None:
        nonlocal sent
        for _ in range(600):
            await socket.send(b"x" * 65536)
            sent += 1

    async with serving(endpoint(session)) as server:
        _reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(HANDSHAKE + b"\r\n")
        await asyncio.sleep(0.3)
        assert sent < 400
        writer.transport.abort()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


async def test_a_session_that_does_not_read_holds_the_peer(loop_factory: Any) -> None:
    release = asyncio.Event()
    got = 0

    async def session(socket: WebSocket) -> None:
        nonlocal got
        await release.wait()
        while await socket.receive() is not None:
            got += 1

    few = SocketSettings(queue=4)
    async with serving(endpoint(session, settings=few)) as server:
        async with theirs(url(server), compression=None) as socket:
            sending = asyncio.ensure_future(_flood(socket))
            await asyncio.sleep(0.2)
            assert not sending.done()
            release.set()
            await sending
        await asyncio.sleep(0.05)
        assert got == 400


async def _flood(socket: Any) -> None:
    for _ in range(400):
        await socket.send(b"x" * 65536)


REFUSED = [
    ("no upgrade", b"GET / HTTP/1.1\r\nHost: a\r\n", 426),
    ("another upgrade", HANDSHAKE.replace(b": websocket", b": h2c"), 426),
    ("a POST", HANDSHAKE.replace(b"GET", b"POST"), 426),
    ("another version", HANDSHAKE.replace(b": 13", b": 8"), 426),
    ("a short key", HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhl"), 400),
    ("a key that is not base64", HANDSHAKE.replace(b"dGhl", b"****"), 400),
    ("two keys", HANDSHAKE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400),
    ("another origin", HANDSHAKE + b"Origin: https://evil.example\r\n", 403),
    ("the null origin", HANDSHAKE + b"Origin: null\r\n", 403),
]


@pytest.mark.parametrize(("wire", "status"), [pytest.param(w, s, id=n) for n, w, s in REFUSED])
async def test_a_bad_handshake_is_refused(loop_factory: Any, wire: bytes, status: int) -> None:
    """Rule 30."""
    async with serving(endpoint(echo)) as server:
        wire = wire.replace(b"Connection: Upgrade", b"Connection: Upgrade, close")
        if b"Connection" not in wire:
            wire += b"Connection: close\r\n"
        (got,) = await ask(server.port, wire + b"\r\n")
    assert got.status == status
    assert got.headers.get("upgrade") == ("websocket" if status == 426 else None)


async def test_the_page_of_the_same_host_may_open_a_socket(loop_factory: Any) -> None:
    async with serving(endpoint(echo, subprotocols=["b", "c"])) as server:
        origin = f"http://127.0.0.1:{server.port}"
        async with theirs(
            url(server),
            origin=Origin(origin),
            subprotocols=[Subprotocol("a"), Subprotocol("b")],
            compression=None,
        ) as socket:
            assert socket.subprotocol == "b"


async def test_an_upgrade_to_a_request_that_asked_for_none_is_a_defect(loop_factory: Any) -> None:
    async def handler(call: Call[Request]) -> Response:
        import msgspec

        asked = msgspec.structs.replace(
            call.payload,
            upgrade="websocket",
            headers=call.payload.headers.also(
                {"sec-websocket-version": "13", "sec-websocket-key": new_key()}
            ),
        )
        return upgrade(asked, echo)

    defects: list[BaseException] = []
    async with serving(handler, on_defect=lambda error, _: defects.append(error)) as server:
        (got,) = await ask(server.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert got.status == 500
    assert len(defects) == 1


async def test_our_client_talks_to_their_server(loop_factory: Any) -> None:
    async def session(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)
        assert socket.close_code == 1000

    verdicts: list[Verdict] = []
    async with their_server(session, "127.0.0.1", 0, subprotocols=["x"]) as server:  # type: ignore[list-item]  # their alias
        port = server.sockets[0].getsockname()[1]
        async with pooled(port) as pool:
            socket = await connect(pool, call("GET", "/ws"), subprotocols=["x"])
            socket.on_end(verdicts.append)
            assert socket.subprotocol == "x"
            for message in ("é", b"x" * 300_000, ""):
                await socket.send(message)
                assert await socket.receive() == message
            await socket.close()
            assert socket.code == 1000
            with pytest.raises(Fault):
                await socket.send("late")
            await asyncio.sleep(0.01)
    assert verdicts == [GOOD]


async def test_a_declined_handshake_is_a_fault(loop_factory: Any) -> None:
    async def handler(call: Call[Request]) -> Response:
        raise Fault(Code.PERMISSION_DENIED)

    async with serving(handler) as server, pooled(server.port) as pool:
        with pytest.raises(Fault, match="403"):
            await connect(pool, call())


async def test_sockets_pass_through_a_proxy(loop_factory: Any) -> None:
    """Rule 30."""
    verdicts: list[Verdict] = []
    bad = HANDSHAKE.replace(b": 13", b": 8").replace(b": Upgrade", b": close, Upgrade") + b"\r\n"
    async with (
        serving(endpoint(echo, verdicts)) as origin,
        pooled(origin.port) as pool,
        serving(pool, drive=Drive.EAGER) as proxy,
    ):
        async with theirs(url(proxy), max_size=None) as socket:
            for size in (10, 900_000):
                await socket.send(b"x" * size)
                assert await socket.recv() == b"x" * size
        await asyncio.sleep(0.02)
        assert verdicts == [GOOD]
        assert not origin.connections
        assert not proxy.connections
        (refused,) = await ask(proxy.port, bad)
        assert refused.status == 426
        assert refused.headers["upgrade"] == "websocket"


async def test_a_drain_tells_sockets_to_connect_again(loop_factory: Any) -> None:
    """Rule 29."""
    server = Server(endpoint(echo))
    await server.start(listen())
    socket = await theirs(url(server), compression=None)
    await socket.send("x")
    await socket.recv()
    draining = asyncio.ensure_future(server.drain(5))
    with pytest.raises(websockets.ConnectionClosed) as caught:
        await socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    assert await draining
