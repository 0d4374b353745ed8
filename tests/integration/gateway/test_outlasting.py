"""What outlasts its token ends with its session: WebSockets, and streams without end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from switchgear import App
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.gateway.settings import GatewaySettings
from switchgear.http.frames import TEXT, Closing, FrameReader, encode
from switchgear.http.message import StreamResponse
from tests.integration.gateway.test_trust import CHEAP, get, prepare, session
from tests.integration.http.harness import Raw
from tests.support.bodies import Stand, quick, standing
from tests.support.postgres import run

pytestmark = pytest.mark.timeout(60)

SHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def talk(scope: Any, receive: Any, send: Any) -> None:
    """Say back what is said."""
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    while (said := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": said["text"]})


def lasting() -> App:
    app = App("toys")
    app.mount("/talk", talk, public=False)
    app.mount("/open", talk)

    async def ticks() -> AsyncIterator[bytes]:
        while True:
            yield b"tick\n"
            await asyncio.sleep(0.05)

    @app.get("/events", scope="read")
    async def events() -> StreamResponse:
        return StreamResponse.of(ticks())

    @app.get("/file", scope="read")
    async def file() -> StreamResponse:
        return StreamResponse.of(ticks(), length=5 * 40)

    @app.get("/mine", scope="read")
    async def mine() -> str:
        return "mine"

    return app


@asynccontextmanager
async def house(folder: Path, roles: Roles) -> AsyncIterator[Stand]:
    await prepare(roles)
    settings = quick(accounts=CHEAP, gateway=GatewaySettings(ended_every=0.1))
    names = ("accounts", "service", "gateway")
    async with standing(folder, lasting(), *names, settings=settings, roles=roles) as stand:
        yield stand


async def asking(stand: Stand, target: str, token: str, lines: str = "") -> Raw:
    client = await Raw.to(stand.port)
    await client.send(
        f"GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{lines}\r\n".encode()
    )
    await client.until(b"\r\n\r\n")
    return client


async def says(client: Raw, text: bytes) -> None:
    await client.send(encode(TEXT, text, masked=True))
    await client.until(encode(TEXT, text, masked=False))


@pytest.mark.parametrize(
    "end",
    ["update family set revoked = true where id = '{}'", "delete from family where id = '{}'"],
)
async def test_a_session_that_was_revoked_speaks_no_more(
    tmp_path: Path, roles: Roles, end: str
) -> None:
    async with house(tmp_path, roles) as stand:
        held, other = await session(stand), await session(stand)
        name = held["refresh_token"].split(".")[2]
        client = await asking(stand, "/talk", held["access_token"], SHAKE)
        stays = await asking(stand, "/talk", other["access_token"], SHAKE)
        strange = await asking(stand, "/open", held["access_token"], SHAKE)
        for one in (client, stays, strange):
            await says(one, b"one")
        await run(roles.accounts, end.format(name))
        (event,) = FrameReader(1000, masked=False).feed(await client.rest())
        assert isinstance(event, Closing)
        assert (event.code, event.reason) == (1008, "sign in again")
        assert (await get(stand, "/mine", held["access_token"])).status == 401
        for one in (stays, strange):  # another session's, and what asks for no token
            await says(one, b"two")
            await one.close()
        await client.close()


async def test_a_stream_without_end_is_cut_and_what_has_one_comes_to_it(
    tmp_path: Path, roles: Roles
) -> None:
    async with house(tmp_path, roles) as stand:
        held = await session(stand)
        token = held["access_token"]
        assert (await get(stand, "/mine", token)).status == 200
        # The second of these is known to the gateway, and goes the express way.
        streams = [await asking(stand, "/events", token) for _ in range(2)]
        file = await asking(stand, "/file", token)
        for one in streams:
            await one.until(b"tick\n")
        await run(roles.accounts, "update family set revoked = true")
        for one in streams:
            assert not (await one.rest()).endswith(b"0\r\n\r\n")
            await one.close()
        assert (await file.until(b"tick\n" * 40)).endswith(b"tick\n")
        await file.close()
