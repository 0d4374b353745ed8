"""When the client leaves, when the answer is over, and what apps do then."""

import asyncio
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from switchgear.http.server import Drive
from switchgear.http.settings import ServerSettings
from tests.integration.asgi.hosts import answer, hosted, read_body, until

pytestmark = pytest.mark.usefixtures("loop_factory")
BOTH = pytest.mark.parametrize("drive", list(Drive))


@BOTH
async def test_an_app_that_listens_is_told_and_ends_in_its_own_time(
    loop_factory: Any, drive: Drive
) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        seen.append("listens")
        seen.append((await receive())["type"])
        with pytest.raises(OSError, match="left"):
            await send({"type": "http.response.start", "status": 200})
        await asyncio.sleep(0.02)
        seen.append("done")

    async with hosted(app, drive=drive) as at:
        client = await at.raw("GET / HTTP/1.1", "Host: a")
        await until(lambda: "listens" in seen)
        await client.close()
        await until(lambda: "done" in seen)
        assert seen == ["listens", "http.disconnect", "done"]
        assert at.defects == []


@BOTH
async def test_an_app_that_does_not_listen_is_cancelled(loop_factory: Any, drive: Drive) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append("begun")
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 60)
        finally:
            seen.append("called off")

    async with hosted(app, drive=drive) as at:
        client = await at.raw("GET / HTTP/1.1", "Host: a")
        await until(lambda: "begun" in seen)
        await client.close()
        await until(lambda: "called off" in seen)
        assert at.defects == []


async def test_sending_amid_the_answer_raises_once_the_client_has_left(loop_factory: Any) -> None:
    caught: list[BaseException] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        listening = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 999, "more_body": True})
                await asyncio.sleep(0)
        except OSError as error:
            caught.append(error)
            assert (await listening)["type"] == "http.disconnect"

    async with hosted(app) as at:
        client = await at.raw("GET / HTTP/1.1", "Host: a")
        await client.until(b"xxx")
        await client.close()
        await until(lambda: bool(caught))
        assert at.defects == []


async def test_an_app_that_waits_for_a_slow_client_learns_that_it_has_left(
    loop_factory: Any,
) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        listening = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200})
        with pytest.raises(OSError):
            while True:
                await send({"type": "http.response.body", "body": b"x" * 99_999, "more_body": True})
                seen.append("sent")
        await listening
        seen.append("over")

    async with hosted(app) as at:
        client = await at.raw("GET / HTTP/1.1", "Host: a")
        await client.until(b"xxx")
        before = -1
        while before != len(seen):  # until `send` waits
            before = len(seen)
            await asyncio.sleep(0.1)
        assert before < 300
        client.writer.transport.abort()
        await until(lambda: seen[-1] == "over")


async def test_a_client_who_leaves_amid_its_body_is_a_disconnect(loop_factory: Any) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["type"])
        try:
            seen.append((await receive())["type"])
        except asyncio.CancelledError:
            seen.append((await receive())["type"])
            raise

    async with hosted(app) as at:
        client = await at.raw("POST / HTTP/1.1", "Host: a", "Content-Length: 9", body=b"abc")
        await until(lambda: bool(seen))
        await client.close()
        await until(lambda: len(seen) == 2)
    assert seen == ["http.request", "http.disconnect"]


async def test_after_the_answer_the_app_is_told_that_it_is_over(loop_factory: Any) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        listening = asyncio.create_task(receive())
        await asyncio.sleep(0)
        assert (await listening)["type"] == "http.request"
        late = asyncio.create_task(receive())
        await answer(send, b"ok")
        seen.append((await late)["type"])

    async with hosted(app) as at:
        client = await at.raw("GET / HTTP/1.1", "Host: a")
        await client.until(b"ok")
        await until(lambda: seen == ["http.disconnect"])
        await client.close()


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
async def test_what_follows_the_answer_runs_to_its_end(loop_factory: Any, leaves: bool) -> None:
    seen: list[str] = []
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a" * 999, "more_body": True})
        await send({"type": "http.response.body", "body": b"b" * 9_999_999})  # waits for nobody
        seen.append("answered")
        await go.wait()
        seen.append("done")

    async with hosted(app) as at:
        client = await at.raw("GET / HTTP/1.1", "Host: a", "Connection: close")
        await client.until(b"aaa")
        await until(lambda: seen == ["answered"])
        if leaves:
            client.writer.transport.abort()
        else:
            assert len(await client.rest()) > 9_999_999
        await client.close()
        await until(lambda: not at.server.connections)
        assert at.host.running == 1
        go.set()
    assert seen == ["answered", "done"]


async def test_a_drain_waits_for_what_follows_the_answer_and_not_for_ever(
    loop_factory: Any,
) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"ok")
        try:
            await asyncio.sleep(0.05 if scope["path"] == "/soon" else 60)
            seen.append(scope["path"])
        except asyncio.CancelledError:
            seen.append("called off")
            raise

    async with hosted(app) as at:
        await at.ask("/soon")
        await at.ask("/never")
        assert await at.server.drain()
        assert at.host.running == 2
        await at.host.stop(0.5)
        assert seen == ["/soon", "called off"]


async def test_a_host_that_stops_ends_answers_that_are_under_way(loop_factory: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/body":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await asyncio.sleep(60)

    async with hosted(app) as at:
        amid = await at.raw("GET /body HTTP/1.1", "Host: a")
        await amid.until(b"part")
        before = await at.raw("GET / HTTP/1.1", "Host: a", "Connection: close")
        await until(lambda: at.host.running == 2)
        await at.host.stop(0.0)
        assert not (await amid.rest()).endswith(b"0\r\n\r\n")
        assert (await before.rest()).startswith(b"HTTP/1.1 4")
        await amid.close()
        await before.close()


async def test_a_head_without_an_end_is_ended_by_the_deadline(loop_factory: Any) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                await asyncio.sleep(0.01)
        finally:
            seen.append("ended")

    async with hosted(app, ServerSettings(deadline=0.2)) as at:
        assert (await at.ask("/", "HEAD")).status == 200
        await until(lambda: seen == ["ended"])


async def test_two_tasks_of_an_app_may_receive_at_once(loop_factory: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        one, two = asyncio.create_task(receive()), asyncio.create_task(receive())
        parts = sorted([(await one)["body"], (await two)["body"]])
        await answer(send, b"|".join([*parts, await read_body(receive)]))

    async with hosted(app) as at:
        client = await at.raw("POST / HTTP/1.1", "Host: a", "Connection: close",
                              "Content-Length: 9")  # fmt: skip
        for part in (b"abc", b"def", b"ghi"):
            await asyncio.sleep(0.03)
            await client.send(part)
        assert (await client.rest()).endswith(b"abc|def|ghi")
        await client.close()


mine: ContextVar[int] = ContextVar("mine", default=0)


@BOTH
async def test_no_request_sees_the_context_of_another(loop_factory: Any, drive: Drive) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        before = mine.get()
        mine.set(int(scope["path"][1:]))
        await asyncio.sleep(0.001)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
        await answer(send, b"%d %d" % (before, mine.get()))

    mine.set(99)
    async with hosted(app, drive=drive) as at:
        got = await asyncio.gather(*[at.ask(f"/{n}") for n in range(1, 60)])
    assert [one.body for one in got] == [b"0 %d" % n for n in range(1, 60)]


@BOTH
@pytest.mark.parametrize("size", [100, 5_000, 500_000])
async def test_a_task_that_reads_on_is_told_when_the_answer_was_given(
    loop_factory: Any, drive: Drive, size: int
) -> None:
    """Whether the rest of the body is read for nobody, or the connection closed because of it."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def listen_on() -> None:
            while (message := await receive())["type"] != "http.disconnect":
                seen.append(message["type"])
            seen.append("told")

        listening = asyncio.create_task(listen_on())
        await until(lambda: bool(seen))
        await answer(send, b"no", 413, (b"content-length", b"2"))
        await listening

    async with hosted(app, drive=drive) as at:
        client = await at.raw("POST / HTTP/1.1", "Host: a", f"Content-Length: {size}", body=b"x")
        await client.until(b"\r\n\r\nno")
        await until(lambda: at.host.running == 0)
        assert seen == ["http.request", "told"]
        assert at.defects == []
        await client.close()
