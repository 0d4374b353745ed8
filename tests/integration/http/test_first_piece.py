"""A streamed answer until its first piece: what fails is told, and what waits begins."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from switchgear.http.exchanged import Exchanged
from switchgear.http.message import Request, Response, StreamResponse
from switchgear.http.server import Drive
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import BAD, GOOD, Verdict
from tests.integration.http.harness import Raw, ask, serving

pytestmark = pytest.mark.usefixtures("loop_factory")

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BOTH = pytest.mark.parametrize("drive", list(Drive))
MISSING = Fault(Code.NOT_FOUND, "no row", public="There is no such thing.")


def streaming(pieces: Callable[[], AsyncIterator[Any]], **options: Any) -> Any:
    async def handler(call: Call[Request]) -> Response:
        if call.payload.path == "/last":
            return Response(200, body=b"last")
        return StreamResponse.of(pieces(), **options)

    return handler


@BOTH
@pytest.mark.parametrize("waits", [False, True])
async def test_a_fault_before_it_is_the_document_that_it_makes_elsewhere(
    loop_factory: Any, drive: Drive, waits: bool
) -> None:
    seen: list[Any] = []

    async def pieces() -> AsyncIterator[bytes]:
        await asyncio.sleep(0.01 if waits else 0)
        raise MISSING
        yield b""

    async def failing(call: Call[Request]) -> Response:
        raise MISSING

    async with serving(failing, drive=drive) as server:
        (wanted,) = await ask(
            server.port, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
    async with serving(streaming(pieces), drive=drive, observer=seen.append) as server:
        told, last = await ask(server.port, GET + LAST, ("GET", "GET"))
    assert (told.status, told.body) == (404, wanted.body)
    assert json.loads(told.body)["detail"] == MISSING.public
    assert last.body == b"last", "the connection is kept"
    exchanged = [event for event in seen if isinstance(event, Exchanged)]
    assert [(event.status, event.fault, event.cut) for event in exchanged] == [
        (404, "not_found", False),
        (200, "", False),
    ]


async def _defect() -> AsyncIterator[bytes]:
    raise ZeroDivisionError
    yield b""


async def _text() -> AsyncIterator[Any]:
    yield "text"


async def _long() -> AsyncIterator[bytes]:
    yield b"more than was announced"


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


@BOTH
@pytest.mark.parametrize(
    ("pieces", "length"), [(_defect, None), (_text, None), (_long, 3), (_nothing, 3)]
)
async def test_a_defect_before_it_is_a_500(
    loop_factory: Any, drive: Drive, pieces: Any, length: int | None
) -> None:
    defects: list[BaseException] = []
    async with serving(
        streaming(pieces, length=length),
        drive=drive,
        on_defect=lambda error, _: defects.append(error),
    ) as server:
        told, last = await ask(server.port, GET + LAST, ("GET", "GET"))
    assert (told.status, json.loads(told.body)["code"]) == (500, "internal")
    assert last.body == b"last"
    assert len(defects) == 1


@BOTH
async def test_an_answer_that_begins_with_silence_begins_all_the_same(
    loop_factory: Any, drive: Drive
) -> None:
    """Whoever waits for events has to know that they are listened to."""
    release = asyncio.Event()
    verdicts: list[Verdict] = []

    async def pieces() -> AsyncIterator[bytes]:
        await release.wait()
        yield b"event"

    async def handler(call: Call[Request]) -> Response:
        answer = StreamResponse.of(pieces())
        answer.on_end(verdicts.append)
        return answer

    async with serving(handler, drive=drive) as server:
        client = await Raw.to(server.port)
        await client.send(GET)
        head = await client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"chunked" in head
        release.set()
        assert await client.until(b"0\r\n\r\n") == b"5\r\nevent\r\n0\r\n\r\n"
        await client.close()
    assert verdicts == [GOOD]


@BOTH
async def test_what_fails_after_the_silence_can_only_cut(loop_factory: Any, drive: Drive) -> None:
    release = asyncio.Event()
    seen: list[Any] = []
    verdicts: list[Verdict] = []

    async def pieces() -> AsyncIterator[bytes]:
        await release.wait()
        raise ConnectionError("the source has gone")
        yield b""

    async def handler(call: Call[Request]) -> Response:
        answer = StreamResponse.of(pieces())
        answer.on_end(verdicts.append)
        return answer

    async with serving(handler, drive=drive, observer=seen.append) as server:
        client = await Raw.to(server.port)
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        release.set()
        assert await client.rest() == b""
        await client.close()
    assert [(event.status, event.cut) for event in seen if isinstance(event, Exchanged)] == [
        (200, True)
    ]
    assert verdicts[0].health is BAD.health


@BOTH
async def test_it_begins_while_there_is_time_to_the_deadline(
    loop_factory: Any, drive: Drive
) -> None:
    """A gateway takes a head that comes no sooner for none."""
    left: list[float] = []

    async def pieces() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    async def handler(call: Call[Request]) -> Response:
        left.append(call.deadline)
        return StreamResponse.of(pieces())

    async with serving(handler, ServerSettings(deadline=0.2), drive=drive) as server:
        client = await Raw.to(server.port)
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        assert server.clock() < left[0]
        await client.close()


async def test_who_is_called_off_before_it_is_told_so(loop_factory: Any) -> None:
    begun = asyncio.Event()
    work: list[Any] = []

    async def pieces() -> AsyncIterator[bytes]:
        work.append(asyncio.current_task())
        begun.set()
        await asyncio.sleep(60)
        yield b""

    async with serving(streaming(pieces)) as server:
        client = await Raw.to(server.port)
        await client.send(GET)
        await begun.wait()
        work[0].cancel()
        assert (await client.until(b"\r\n")).startswith(b"HTTP/1.1 503 ")
        await client.close()
