"""Program 3, over real sockets, spoken to by somebody else's client: frames are calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from switchgear.http.websocket import Message
from switchgear.policy.call import Call
from switchgear.policy.verdict import Health
from tests.entrances import echo as program
from tests.entrances.echo import serve_echo
from tests.support.entrance import (
    Overheard,
    Strike,
    Watch,
    at_every_wait,
    breaker,
    bulkhead,
    nothing_left,
    serving,
    until,
)

pytestmark = pytest.mark.usefixtures("loop_factory")

speaker: ContextVar[str] = ContextVar("speaker", default="nobody")


@asynccontextmanager
async def echoing(gate: Overheard, **options: Any) -> AsyncIterator[str]:
    async with nothing_left(gate), serving(serve_echo(gate, **options)) as port:
        yield f"ws://127.0.0.1:{port}/"


def dial(url: str) -> connect:
    """Open a socket that neither compresses, nor pings, nor waits long for a farewell."""
    return connect(url, compression=None, ping_interval=None, close_timeout=1, proxy=None)


async def said(socket: ClientConnection, *words: str) -> list[Any]:
    for word in words:
        await socket.send(word)
    return [await socket.recv() for _ in words]


async def test_every_frame_is_a_call(watch: Watch) -> None:
    gate = breaker()
    async with echoing(gate) as url, dial(url) as socket:
        assert await said(socket, "one", "two", "three") == ["one", "two", "three"]
        assert gate.heard == [Health.GOOD] * 3
        # The session is a delivery of its own, and not settled before its end.
        assert watch.settlements() == [1, 1, 1, 1]
        assert gate.statistics()["admitted"] == 3


async def test_a_fault_costs_one_answer_and_no_session() -> None:
    gate = breaker()
    async with echoing(gate) as url, dial(url) as socket:
        wrong = "invalid_argument: That was no word."
        assert await said(socket, "one", "boom", "two") == ["one", wrong, "two"]
        assert gate.heard == [Health.GOOD] * 3  # it answered: it is well


async def test_a_frame_has_a_deadline_of_its_own_and_the_session_none() -> None:
    gate = bulkhead()
    async with echoing(gate, deadline=0.1) as url, dial(url) as socket:
        for _ in range(3):
            assert await said(socket, "hang after 60") == [
                "deadline_exceeded: The request took too long."
            ]
        assert await said(socket, "one") == ["one"]
        assert gate.out == 0


async def test_a_refusal_is_an_answer_too() -> None:
    gate = breaker()
    async with echoing(gate) as url, dial(url) as socket:
        gate.gate.force_open(0.0)  # type: ignore[attr-defined]  # it is a breaker
        assert await said(socket, "one") == [
            "unavailable: The service is unavailable; try again later."
        ]
        assert gate.verdicts == []


async def test_a_defect_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(call: Call[Message]) -> Message:
        raise ZeroDivisionError

    monkeypatch.setattr(program, "echo", broken)
    gate = breaker()
    async with echoing(gate) as url, dial(url) as socket:
        await socket.send("one")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
    assert gate.heard == [Health.BAD]


async def test_a_peer_that_vanishes_calls_its_frame_off(watch: Watch) -> None:
    gate = breaker()
    async with echoing(gate) as url:
        socket = await dial(url)
        await socket.send("hang after 60")
        await until(lambda: gate.out)
        socket.transport.abort()
        await until(lambda: gate.verdicts)
        assert gate.heard == [Health.NEUTRAL]
        await socket.wait_closed()
    assert watch.settlements() == [1, 1]
    assert watch.called_off() == [False, True]  # the handshake was answered, the frame was not


async def test_a_peer_that_says_goodbye_lets_its_frame_end(watch: Watch) -> None:
    gate = breaker()
    async with echoing(gate) as url:
        socket = await dial(url)
        await socket.send("one after 0.2")
        await until(lambda: gate.out)
        closing = asyncio.create_task(socket.close())
        await asyncio.sleep(0.02)
        socket.transport.abort()
        await closing
        assert gate.out == 1
        await until(lambda: gate.verdicts)
        assert gate.heard == [Health.GOOD]
        await until(lambda: watch.settlements() == [1, 1])


async def test_draining_tells_the_peer_to_connect_again_elsewhere() -> None:
    gate = breaker()
    server = serve_echo(gate)
    async with nothing_left(gate), serving(server) as port:
        socket = await dial(f"ws://127.0.0.1:{port}/")
        await socket.send("one after 0.1")
        await until(lambda: gate.out)
        draining = asyncio.create_task(server.drain(5.0))
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            while True:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        await draining
        await socket.wait_closed()
    assert gate.statistics()["admitted"] == 1


async def test_no_context_of_200_interleaved_sessions_is_seen_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    async def named(call: Call[Message]) -> Message:
        seen.append(speaker.get())
        speaker.set(str(call.payload))
        await asyncio.sleep(0)
        return speaker.get()

    monkeypatch.setattr(program, "echo", named)
    gate = bulkhead(permits=200)
    async with echoing(gate) as url:
        sockets = await asyncio.gather(*[dial(url) for _ in range(200)])
        for turn in range(3):
            for number, socket in enumerate(sockets):
                await socket.send(f"{number} {turn}")
        for turn in range(3):
            for number, socket in enumerate(sockets):
                assert await socket.recv() == f"{number} {turn}"
        await asyncio.gather(*[socket.close() for socket in sockets])
    assert seen == ["nobody"] * 600


async def test_every_wait_can_be_the_last(watch: Watch) -> None:
    async def answered(socket: ClientConnection) -> None:
        answer = asyncio.ensure_future(socket.recv())
        while not (await asyncio.wait({answer}, timeout=0.1))[0]:
            if watch.struck:
                answer.cancel()
        await answer

    async def scene() -> None:
        gate = breaker()
        async with echoing(gate) as url:
            socket = await dial(url)
            watch.leave = socket.transport.abort
            try:
                for word in ("one after 0.001", "two", "boom"):
                    await socket.send(word)
                    await answered(socket)
            except (websockets.ConnectionClosed, asyncio.CancelledError):
                assert watch.struck  # a frame that was called off has no answer
            await socket.close()
        usual = {Health.GOOD, Health.NEUTRAL} if watch.struck else {Health.GOOD}
        assert set(gate.heard) <= usual
        assert len(watch.deliveries) - 1 == len(gate.heard) <= 3

    await at_every_wait(watch, scene, *Strike, least=4)
