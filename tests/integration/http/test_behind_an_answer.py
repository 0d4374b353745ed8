"""What an upstream sends a moment behind its answer is not the answer to the next request."""

import asyncio
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from switchgear.http.pool import Pool
from switchgear.http.server import Drive
from switchgear.http.settings import TlsSettings
from tests.integration.http.harness import Raw, answers, pooled, raw_server, serving
from tests.support.authority import LOOPBACK, Authority

STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MANY = 5000  # chunks: so many are read in several turns, between which nothing else is
LONG = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * MANY + b"0\r\n\r\n"
)
ASK = b"GET /long HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("turns", [2, 5, 10])
async def test_what_comes_while_an_answer_is_read_by_and_by_is_nobodys(
    loop_factory: Any, tmp_path: Path, secured: bool, turns: int
) -> None:
    """The kernel cannot tell of what TLS has taken from it, and hands on when it is read again."""
    theirs: ssl.SSLContext | None = None
    ours: TlsSettings | None = None
    if secured:
        authority = Authority(tmp_path, "authority")
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(authority.issue(LOOPBACK))
        ours = TlsSettings(ca_file=str(authority.file))

    talking: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not head.startswith(b"GET /long "):
                    writer.write(OK)
                    continue
                writer.write(LONG)
                for _ in range(turns):
                    await asyncio.sleep(0)
                writer.write(STRAY)
        finally:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            talking.discard(writer)

    async with AsyncExitStack() as held:
        port = await held.enter_async_context(raw_server(talk, theirs))
        pool: Pool = await held.enter_async_context(pooled(port, tls=ours))
        server = await held.enter_async_context(serving(pool, drive=Drive.EAGER))
        client = await Raw.to(server.port)
        await client.send(ASK)
        got = answers(await client.rest(), ["GET"] * 2)
        await client.close()
        assert [one.body for one in got] == [b"a" * MANY, b"ok"]
        assert pool.counters.retired == {"unanswered": 1}
        await pool.close()
        async with asyncio.timeout(10):
            while talking:  # TLS has its goodbyes to say
                await asyncio.sleep(0.01)
