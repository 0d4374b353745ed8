"""Servers that let nobody in, for whatever reason they say."""

import asyncio
from time import perf_counter

import pytest

from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.verdict import judge


@pytest.mark.parametrize("state", ["XX000", "42501", "53100", "22023", "28000", "53300", "57P03"])
async def test_it_is_away_and_nothing_was_done(state: str) -> None:
    """As poolers say it that have lost their server. The client did nothing that is not allowed."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
        told = b"".join(
            kind + words + b"\0"
            for kind, words in ((b"S", b"FATAL"), (b"C", state.encode()), (b"M", b"not today"))
        )
        told += b"\0"
        writer.write(b"E" + (len(told) + 4).to_bytes(4, "big") + told)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tables = PostgresTables(Dsn("127.0.0.1", port, options={"sslmode": "disable"}))
    with pytest.raises(Fault, match="not today") as refused:
        await tables.probe(perf_counter() + 5)
    fault = refused.value
    assert (fault.code, fault.effect, judge(fault).again) == (Code.UNAVAILABLE, Effect.NONE, True)
    await tables.close()
    server.close()
    await server.wait_closed()
