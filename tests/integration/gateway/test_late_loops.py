"""Loops that are busy while an attempt's time is over: its alarm rings twice before it ends."""

import asyncio
from random import Random
from typing import Any

from switchgear.core.sweep import sweep_of
from switchgear.gateway.door import Door
from switchgear.gateway.onward import Trust
from switchgear.gateway.sent import Sent
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Member, Upstream
from switchgear.http.pool import Pool, deadline_line
from switchgear.http.server import Drive
from switchgear.policy.shedder import Shedder
from tests.integration.http.harness import Raw, answers, raw_server, serving

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def nobody(_: str) -> Any:
    raise AssertionError("nobody signs in here")


async def test_an_attempt_that_is_called_off_late_is_answered_and_leaves_nothing(
    loop_factory: Any,
) -> None:
    """The loop had so much to do behind the first ring: then it was never heard of again.

    Neither its client was, nor the place that it had before the process.
    """
    loop = asyncio.get_running_loop()
    errors: list[Any] = []
    loop.set_exception_handler(lambda _, told: errors.append(told))
    asked, hangs = 0, asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while True:
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            if asked == 2:
                hangs.set()
                await asyncio.sleep(5)
            writer.write(OK)

    async with raw_server(talk) as port:
        upstream = Upstream(
            "service",
            GatewaySettings(),
            lambda name, _: Pool("127.0.0.1", port, name=name, stamp=deadline_line),
            random=Random(7).random,
        )
        upstream.update([Member("service-1", "tcp:", 1, routable=True)])
        fields: Any = {"path": "/", "public": True, "prefix": True, "attempt_timeout": 2.0}
        door = Door(
            [RouteEntry("*", service="service", deadline=5.0, **fields)],
            {"service": upstream},
            Trust(lambda _: None, nobody, lambda *_: "T"),
            GatewaySettings(),
            local={},
            shedder=Shedder("shedder"),
        )
        async with serving(
            door.handler, drive=Drive.EAGER, intake=door.intake, run=door.run, problem=door.problem
        ) as server:
            client = await Raw.to(server.port)
            await client.send(ASK)
            await client.until(b"\r\n\r\nok")  # and its connection is kept
            await client.send(LAST)
            await hangs.wait()
            (sent,) = (one for one in sweep_of(loop).alarms() if isinstance(one, Sent))
            for _ in range(2):
                assert sent.slot is not None
                sent.slot.discard(sent)
                sent.ring()
            (got,) = answers(await client.rest())
            await client.close()
        assert errors == []
        assert (got.status, asked) == (200, 3)
        (process,) = upstream.statistics()["endpoints"].values()
        assert (process["out"], process["free"]) == (0, process["permits"])
        await upstream.close()
