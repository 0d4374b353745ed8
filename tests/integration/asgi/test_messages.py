"""What an app may send, in which order, and what becomes of the client when it does otherwise."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h11
import pytest

from tests.integration.asgi.hosts import answer, hosted, read_body, until
from tests.integration.http.harness import answers

pytestmark = pytest.mark.usefixtures("loop_factory")

START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
END: dict[str, Any] = {"type": "http.response.body", "body": b"end"}
MORE: dict[str, Any] = {"type": "http.response.body", "body": b"more", "more_body": True}


def start(*headers: tuple[bytes, bytes], status: int = 200, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def length(size: int) -> tuple[bytes, bytes]:
    return b"Content-Length", b"%d" % size


def saying(*messages: Any, caught: list[BaseException] | None = None) -> Any:
    """Make an app that sends these; what the last one raises is caught, or its failure."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        *first, last = messages
        for message in first:
            await send(message)
        await asyncio.sleep(0.01)  # so that what was sent is on the wire
        try:
            await send(last)
        except Exception as error:
            if caught is None:
                raise
            caught.append(error)

    return app


OUT_OF_TURN = {
    "a body first": [END],
    "two starts": [START, START],
    "a start amid the body": [START, MORE, START],
    "trailers unannounced": [START, MORE, {"type": "http.response.trailers", "headers": []}],
    "a hint too late": [START, {"type": "http.response.early_hint", "links": []}],
    "a file amid the body": [START, MORE, {"type": "http.response.pathsend", "path": "/etc/hosts"}],
    "of a WebSocket": [{"type": "websocket.accept"}],
    "of nothing": [START, {"type": "http.response.push"}],
}
OF_A_WRONG_SHAPE = {
    "a status in words": [start(status="200")],  # type: ignore[arg-type]  # what is tested
    "an interim status": [start(status=103)],
    "a header of text": [start(("a", "b"))],  # type: ignore[arg-type]  # what is tested
    "a header that breaks out": [start((b"a", b"b\r\nset-cookie: c"))],
    "a header without a name": [start((b"", b"b"))],
    "a length in words": [start((b"content-length", b"ten"))],
    "two lengths": [start(length(3), length(4))],
    "a body of text": [START, {"type": "http.response.body", "body": "text"}],
}


@pytest.mark.parametrize("messages", OUT_OF_TURN.values(), ids=OUT_OF_TURN)
async def test_a_message_out_of_turn_raises_in_the_app(loop_factory: Any, messages: Any) -> None:
    caught: list[BaseException] = []
    async with hosted(saying(*messages, caught=caught)) as at:
        got = await at.said("GET / HTTP/1.1", "Host: a")
        assert [type(error) for error in caught] == [RuntimeError]
        assert len(at.defects) == 1
    assert got.startswith(b"HTTP/1.1 500") or not got.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("messages", OF_A_WRONG_SHAPE.values(), ids=OF_A_WRONG_SHAPE)
async def test_a_message_of_a_wrong_shape_is_a_500_and_told(
    loop_factory: Any, messages: Any
) -> None:
    async with hosted(saying(*messages)) as at:
        assert (await at.ask()).status == 500
        assert [isinstance(error, TypeError | ValueError) for error in at.defects] == [True]


async def test_what_was_refused_changes_nothing(loop_factory: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for wrong in (END, start(status=42), MORE):
            with pytest.raises((RuntimeError, ValueError)):
                await send(wrong)
        await send(start((b"x-a", b"b"), status=201))
        with pytest.raises(TypeError):
            await send({"type": "http.response.body", "body": "text"})
        await send(END)
        for late in (END, START):
            with pytest.raises(RuntimeError):
                await send(late)

    async with hosted(app) as at:
        got = await at.ask()
        assert (got.status, got.headers["x-a"], got.body) == (201, "b", b"end")
        assert at.defects == []


SILENT: list[Any] = [[], [START]]


@pytest.mark.parametrize("messages", SILENT, ids=["nothing", "a start alone"])
async def test_an_app_that_returns_without_an_answer_is_a_500(
    loop_factory: Any, messages: list[Any]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    async with hosted(app) as at:
        assert (await at.ask()).status == 500
        assert [str(error) for error in at.defects] == ["the app returned without an answer"]


WRONG_LENGTHS = {
    "shorter, whole": ([start(length(4)), END], True),
    "longer, whole": ([start(length(2)), END], True),
    "shorter, in pieces": ([start(length(9)), MORE, END], False),
    "longer, in pieces": ([start(length(5)), MORE, END], False),
    "none but one announced": ([start(length(1)), {"type": "http.response.body"}], True),
}


@pytest.mark.parametrize("swallowed", [False, True], ids=["raised", "swallowed"])
@pytest.mark.parametrize(("messages", "whole"), WRONG_LENGTHS.values(), ids=WRONG_LENGTHS)
async def test_a_wrong_length_is_never_a_complete_answer(
    loop_factory: Any, messages: Any, whole: bool, swallowed: bool
) -> None:
    caught: list[BaseException] | None = [] if swallowed else None
    async with hosted(saying(*messages, caught=caught)) as at:
        got = await at.said("GET / HTTP/1.1", "Host: a")
        if whole:  # nothing had been sent: an honest answer is still possible
            assert answers(got)[0].status == 500
        else:
            with pytest.raises((AssertionError, h11.RemoteProtocolError)):
                answers(got)
        assert len(at.defects) == 1
        assert "announced" in str(at.defects[0])


async def test_framing_is_ours_whatever_the_app_says(loop_factory: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        names = (b"Transfer-Encoding", b"Connection", b"Keep-Alive", b"Upgrade", b"Trailer")
        await send(start(*[(name, b"chunked") for name in names], (b"X-Kept", b"1")))
        if scope["path"] == "/pieces":
            await send(MORE)
        await send(END)

    async with hosted(app) as at:
        whole, pieces = await at.ask("/whole"), await at.ask("/pieces")
    assert whole.headers.keys() == {"x-kept", "date", "connection", "content-length"}
    assert pieces.headers.keys() == {"x-kept", "date", "connection", "transfer-encoding"}
    assert (whole.headers["connection"], pieces.body) == ("close", b"moreend")


@pytest.mark.parametrize(
    ("method", "status", "announced"),
    [("HEAD", 200, "7"), ("GET", 204, None), ("GET", 304, None)],
)
async def test_an_answer_without_a_body_is_one_however_much_is_sent(
    loop_factory: Any, method: str, status: int, announced: str | None
) -> None:
    done: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(length(7), status=status))
        if scope["path"] == "/pieces":
            await send(MORE)
            await asyncio.sleep(0.01)
        await send(END)
        done.append(scope["path"])

    async with hosted(app) as at:
        for path in ("/pieces", "/whole"):
            got = await at.said(f"{method} {path} HTTP/1.1", "Host: a")
            (read,) = answers(got, [method])
            assert (read.status, read.headers.get("content-length")) == (status, announced)
            assert got.endswith(b"\r\n\r\n")
    assert sorted(done) == ["/pieces", "/whole"]
    assert at.defects == []


async def test_what_an_app_raises_amid_its_answer_cuts_it(loop_factory: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(MORE)
        await asyncio.sleep(0.02)
        raise ZeroDivisionError

    async with hosted(app) as at:
        got = await at.said("GET / HTTP/1.1", "Host: a")
        assert b"more" in got
        assert not got.endswith(b"0\r\n\r\n")
        assert [type(error) for error in at.defects] == [ZeroDivisionError]


@pytest.mark.parametrize("begun", [False, True])
async def test_an_app_that_is_cancelled_by_its_own_doing_has_failed(
    loop_factory: Any, begun: bool
) -> None:
    """It waited for a task that somebody has cancelled, as a client's library does at its end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send(START)
            await send(MORE)
        gone = asyncio.ensure_future(asyncio.sleep(60))
        gone.cancel()
        await gone

    async with hosted(app) as at:
        got = await at.said("GET / HTTP/1.1", "Host: a")
        assert got.startswith(b"HTTP/1.1 200 " if begun else b"HTTP/1.1 500 ")
        assert not begun or (b"more" in got and not got.endswith(b"0\r\n\r\n"))
        (told,) = at.defects
        assert isinstance(told.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit])
@pytest.mark.parametrize("begun", [False, True])
async def test_an_app_that_exits_ends_its_own_request_alone(
    loop_factory: Any, begun: bool, kind: type[BaseException]
) -> None:
    """As a function does that was written for the command line."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/well":
            await answer(send, b"well")
            return
        if begun:
            await send(START)
            await send(MORE)
            await asyncio.sleep(0.02)
        raise kind

    async with hosted(app) as at:
        got = await at.said("GET / HTTP/1.1", "Host: a")
        assert got.startswith(b"HTTP/1.1 200 " if begun else b"HTTP/1.1 500 ")
        assert not begun or (b"more" in got and not got.endswith(b"0\r\n\r\n"))
        (told,) = at.defects
        assert isinstance(told.__cause__, kind)
        assert (await at.ask("/well")).body == b"well"


async def test_an_app_that_exits_when_it_is_called_off_ends_nobody_elses(loop_factory: Any) -> None:
    begun = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/well":
            await answer(send, b"well")
            return
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise SystemExit(2) from None

    async with hosted(app) as at:
        client = await at.raw("GET / HTTP/1.1", "Host: a")
        await begun.wait()
        await client.close()
        await until(lambda: at.host.running == 0)
        assert (await at.ask("/well")).body == b"well"
        assert at.defects == []


async def test_an_apps_own_page_for_its_error_is_sent_and_the_error_told(loop_factory: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"so sorry", 500)
        if scope["path"] == "/later":
            await event.wait()
        raise ZeroDivisionError

    event = asyncio.Event()
    async with hosted(app) as at:
        assert (await at.ask("/")).body == b"so sorry"
        assert (await at.ask("/later")).body == b"so sorry"  # and is not waited with
        assert len(at.defects) == 1
        event.set()
        await until(lambda: len(at.defects) == 2)


async def test_a_client_that_waits_to_be_asked_is_asked_when_the_app_reads(
    loop_factory: Any,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/read":
            await answer(send, await read_body(receive))
        else:
            await answer(send, b"no need", 413)

    head = ("Host: a", "Content-Length: 3", "Expect: 100-continue")
    async with hosted(app) as at:
        got = await at.said("POST /unread HTTP/1.1", *head)
        assert got.startswith(b"HTTP/1.1 413")
        client = await at.raw("POST /read HTTP/1.1", *head, "Connection: close")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.rest()).endswith(b"\r\n\r\nabc")
        await client.close()


async def test_trailers_stand_behind_the_body_where_the_client_takes_them(
    loop_factory: Any,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(length(7), trailers=True))
        await send(MORE)
        await send(END)
        for more, name in ((True, b"X-Sum"), (False, b"X-Time")):
            await send({"type": "http.response.trailers", "headers": [(name, b"1")],
                        "more_trailers": more})  # fmt: skip
        with pytest.raises(RuntimeError):
            await send({"type": "http.response.trailers", "headers": []})

    async with hosted(app) as at:
        taken = await at.said("GET / HTTP/1.1", "Host: a", "TE: trailers")
        assert taken.endswith(b"\r\n0\r\nx-sum: 1\r\nx-time: 1\r\n\r\n")
        assert answers(taken)[0].body == b"moreend"
        assert (await at.ask()).headers["content-length"] == "7"
        assert (await at.said("GET / HTTP/1.0", "TE: trailers")).endswith(b"moreend")
        assert at.defects == []


@pytest.mark.parametrize("name", [b"content-length", b"Set-Cookie", b"transfer-encoding", b"a b"])
async def test_a_trailer_that_would_steer_its_reader_is_refused(
    loop_factory: Any, name: bytes
) -> None:
    last = {"type": "http.response.trailers", "headers": [(name, b"1")]}
    async with hosted(saying(start(trailers=True), END, last)) as at:
        got = await at.said("GET / HTTP/1.1", "Host: a", "TE: trailers")
        assert not got.endswith(b"\r\n\r\n")
        assert [isinstance(error, ValueError) for error in at.defects] == [True]


async def test_hints_go_before_the_answer_to_who_can_read_them(loop_factory: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        links = [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]
        await send({"type": "http.response.early_hint", "links": links})
        await answer(send, b"page")

    async with hosted(app) as at:
        got = await at.said("GET / HTTP/1.1", "Host: a")
        assert got.startswith(
            b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n"
            b"link: </b.js>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n"
        )
        assert answers(got)[0].body == b"page"
        assert (await at.said("GET / HTTP/1.0")).startswith(b"HTTP/1.1 200")


Change = Callable[[Path], None]


@pytest.mark.parametrize("size", [0, 1, 70_000, 700_000])
async def test_a_file_is_sent_whole(loop_factory: Any, tmp_path: Path, size: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
    message = {"type": "http.response.pathsend", "path": str(file)}
    for headers in ([], [length(size)]):
        async with hosted(saying(start(*headers), message)) as at:
            got = await at.ask()
            assert got.body == file.read_bytes()
            assert got.headers.get("content-length", str(size)) == str(size)
            assert (await at.ask("/", "HEAD")).status == 200


async def test_a_file_that_grows_is_sent_as_announced_and_one_that_shrank_is_cut(
    loop_factory: Any, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 700_000)
    message = {"type": "http.response.pathsend", "path": str(file)}
    async with hosted(saying(start(length(600_000)), message)) as at:
        assert len((await at.ask()).body) == 600_000
    async with hosted(saying(start(length(800_000)), message)) as at:
        with pytest.raises((AssertionError, h11.RemoteProtocolError)):
            await at.ask()
        assert len(at.defects) == 1


async def test_a_file_that_is_not_there_is_a_500(loop_factory: Any, tmp_path: Path) -> None:
    gone = {"type": "http.response.pathsend", "path": str(tmp_path / "gone")}
    async with hosted(saying(START, gone)) as at:
        assert (await at.ask()).status == 500
        assert [type(error) for error in at.defects] == [FileNotFoundError]


async def test_a_task_that_waits_for_the_client_goes_on_when_another_ends_the_answer(
    loop_factory: Any,
) -> None:
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def first() -> None:
            await send({"type": "http.response.body", "body": b"x" * 5_000_000, "more_body": True})
            ended.append("first")

        await send(START)
        waits = asyncio.create_task(first())
        await asyncio.sleep(0.05)
        assert not waits.done(), "the client reads nothing yet"
        await send(END)
        ended.append("last")
        await waits

    async with hosted(app) as at:
        client = await at.raw("GET / HTTP/1.1", "Host: a", "Connection: close")
        await until(lambda: len(ended) == 2)
        (got,) = answers(await client.rest())
        assert len(got.body) == 5_000_003
        assert at.defects == []
        await client.close()
