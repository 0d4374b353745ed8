"""Program 7, over real sockets: what FastAPI does of its own stays one request's affair."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse

from switchgear.http.server import Server
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import Health
from tests.entrances.community_api import app, community, reader
from tests.integration.http.harness import Raw, answers
from tests.support.entrance import (
    Overheard,
    Strike,
    Watch,
    at_every_wait,
    breaker,
    nothing_left,
    serving,
    until,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("loop_factory")

LAST = b"0\r\n\r\n"


def get(target: str, who: str = "ada", *, last: bool = True) -> bytes:
    closing = "Connection: close\r\n" if last else ""
    return f"GET {target} HTTP/1.1\r\nHost: a\r\nReader: {who}\r\n{closing}\r\n".encode()


class Events:
    """What routes of the test have seen."""

    def __init__(self) -> None:
        self.begun = 0
        self.called_off = 0


@pytest.fixture
def events() -> Iterator[Events]:
    """Add routes that fail in every way that an app can fail in."""
    events = Events()
    kept = list(app.router.routes)

    @app.get("/fails/{how}")
    async def fails(how: str) -> Any:
        match how:
            case "defect":
                raise ZeroDivisionError
            case "fault":
                raise Fault(Code.UNAVAILABLE, "the shelf is away")
            case "answer":
                return JSONResponse({}, 500)
            case _:
                raise HTTPException(int(how))

    @app.get("/hangs")
    async def hangs(request: Request) -> None:
        events.begun += 1
        try:
            await asyncio.sleep(60)
        finally:
            events.called_off += 1

    @app.get("/breaks")
    async def breaks() -> StreamingResponse:
        async def tell() -> AsyncGenerator[str, None]:
            yield "one"
            await asyncio.sleep(0)
            raise ZeroDivisionError

        return StreamingResponse(tell())

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def tell() -> AsyncGenerator[str, None]:
            events.begun += 1
            try:
                while True:
                    yield "tick\n"
                    await asyncio.sleep(0.01)
            finally:
                events.called_off += 1

        return StreamingResponse(tell())

    yield events
    app.router.routes[:] = kept


@asynccontextmanager
async def mounted(gate: Overheard, **options: Any) -> AsyncIterator[int]:
    async with nothing_left(gate), community(gate, **options) as server, serving(server) as port:
        yield port


async def ask(port: int, target: str, who: str = "ada") -> bytes:
    client = await Raw.to(port)
    await client.send(get(target, who))
    got = await client.rest()
    await client.close()
    return got


async def test_an_app_with_task_groups_and_timeouts_answers(watch: Watch) -> None:
    gate = breaker()
    async with mounted(gate) as port:
        (answer,) = answers(await ask(port, "/shelves?pause=0.01"))
        assert json.loads(answer.body) == ["nobody", "poems of ada", "prose of ada"]
        (feed,) = answers(await ask(port, "/feed?lines=3&pause=0.001"))
        assert feed.body == b"".join(b"%d for ada after nobody\n" % n for n in range(3))
    assert gate.heard == [Health.GOOD] * 2
    assert watch.settlements() == [1, 1]


@pytest.mark.parametrize(
    ("how", "status", "health"),
    [
        ("defect", 500, Health.BAD),
        ("fault", 503, Health.BAD),
        ("answer", 500, Health.BAD),
        ("503", 503, Health.BAD),
        ("404", 404, Health.GOOD),
        ("409", 409, Health.GOOD),
    ],
)
async def test_the_breaker_is_told_how_the_app_failed(
    events: Events, caplog: pytest.LogCaptureFixture, how: str, status: int, health: Health
) -> None:
    gate = breaker()
    with caplog.at_level(logging.CRITICAL):
        async with mounted(gate) as port:
            (answer,) = answers(await ask(port, f"/fails/{how}"))
            assert answer.status == status
    assert gate.heard == [health]


async def test_a_failing_app_opens_its_breaker(events: Events) -> None:
    gate = breaker(consecutive=3)
    async with mounted(gate) as port:
        for _ in range(3):
            await ask(port, "/fails/answer")
        (refused,) = answers(await ask(port, "/shelves"))
        assert refused.status == 503
    assert gate.statistics()["refused"] == 1


async def test_a_stream_that_breaks_is_bad_although_its_head_was_200(events: Events) -> None:
    gate = breaker()
    async with mounted(gate) as port:
        got = await ask(port, "/breaks")
        assert got.startswith(b"HTTP/1.1 200 OK")
        assert not got.endswith(LAST)
    assert gate.heard == [Health.BAD]


async def test_a_hung_app_is_called_off_at_the_deadline_and_is_bad(events: Events) -> None:
    gate = breaker()
    async with mounted(gate, deadline=0.2) as port:
        (answer,) = answers(await ask(port, "/hangs"))
        assert answer.status == 504
        await until(lambda: events.called_off)
    assert gate.heard == [Health.BAD]


@pytest.mark.parametrize("target", ["/hangs", "/endless"])
async def test_a_client_that_leaves_calls_the_app_off_and_is_no_failure(
    events: Events, watch: Watch, target: str
) -> None:
    gate = breaker()
    async with mounted(gate) as port:
        client = await Raw.to(port)
        await client.send(get(target))
        await until(lambda: events.begun)
        if target == "/endless":
            await client.until(b"tick\n")
        assert (gate.out, gate.verdicts) == (1, [])
        await client.close()
        await until(lambda: events.called_off)
        await until(lambda: gate.verdicts)
    assert gate.heard == [Health.NEUTRAL]
    assert watch.settlements() == [1]


async def test_draining_lets_the_app_answer_and_then_calls_it_off(events: Events) -> None:
    gate = breaker()

    async def drained(server: Server) -> bool:
        return await server.drain(0.3)

    async with nothing_left(gate), community(gate) as server, serving(server) as port:
        quick, hung = await Raw.to(port), await Raw.to(port)
        await quick.send(get("/shelves?pause=0.1"))
        await hung.send(get("/hangs"))
        await until(lambda: events.begun and gate.out == 2)
        assert await drained(server) is False
        (answer,) = answers(await quick.rest())
        assert answer.status == 200
        await until(lambda: events.called_off)
        assert await hung.rest() == b""
        await quick.close()
        await hung.close()
    assert gate.heard == [Health.GOOD, Health.NEUTRAL]


async def test_no_context_of_200_interleaved_connections_is_seen_by_another() -> None:
    gate = breaker()
    async with mounted(gate, deadline=30.0) as port:
        clients = [await Raw.to(port) for _ in range(200)]
        for turn in range(3):
            last = turn == 2
            for number, client in enumerate(clients):
                target = "/shelves?pause=0.001" if (number + turn) % 2 else "/feed?lines=2"
                await client.send(get(target, f"r{number}t{turn}", last=last))
            for number, client in enumerate(clients):
                who = f"r{number}t{turn}".encode()
                if (number + turn) % 2:
                    await client.until(b'["nobody","poems of %b","prose of %b"]' % (who, who))
                else:
                    got = await client.until(LAST)
                    assert got.count(b" for %b after nobody\n" % who) == 2
        for client in clients:
            await client.close()
    assert gate.heard == [Health.GOOD] * 600
    assert reader.get() == "nobody"


@pytest.mark.parametrize("target", ["/shelves?pause=0.001", "/feed?lines=3&pause=0.001"])
async def test_every_wait_can_be_the_last(watch: Watch, target: str) -> None:
    async def scene() -> None:
        gate = breaker()
        async with mounted(gate) as port:
            client = await Raw.to(port)
            watch.leave = client.writer.transport.abort
            await client.send(get(target))
            await client.rest()
            await client.close()
            await until(lambda: gate.verdicts)
        (health,) = gate.heard
        assert health is Health.GOOD or (watch.struck and health is Health.NEUTRAL)

    await at_every_wait(watch, scene, *Strike, least=1)
