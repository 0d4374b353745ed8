"""Questions and answers over control sockets, and what they do when something is wrong."""

import asyncio
import os
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from switchgear.assembly.control import ControlError, ControlServer, ask
from switchgear.assembly.pull import fan_out, merged_metrics
from switchgear.telemetry.metrics import FamilyShot, Registry


async def echo(body: object) -> dict[str, object]:
    return {"you said": body}


async def fail(_: object) -> None:
    raise ValueError("not today")


async def sleep(_: object) -> None:
    await asyncio.Event().wait()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.sock"


async def test_a_verb_is_answered_and_the_socket_is_private(path: Path) -> None:
    server = ControlServer(path, {"echo": echo})
    await server.start()
    assert path.stat().st_mode & 0o777 == 0o600
    assert await ask(path, "echo", [1, "two", None]) == {"you said": [1, "two", None]}
    await server.stop()
    assert not path.exists()


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("nothing", "no verb 'nothing'; there are: echo, fail, sleep"),
        ("fail", "ValueError: not today"),
        ("sleep", "did not answer 'sleep' within 0.1 s"),
    ],
)
async def test_what_is_no_answer_is_an_error_that_says_why(
    path: Path, verb: str, said: str
) -> None:
    server = ControlServer(path, {"echo": echo, "fail": fail, "sleep": sleep})
    await server.start()
    with pytest.raises(ControlError, match=said):
        await ask(path, verb, timeout=0.1)
    assert await ask(path, "echo", 1) == {"you said": 1}
    await server.stop()


async def test_nobody_there_is_an_error_at_once(path: Path) -> None:
    with pytest.raises(ControlError, match="gave no answer"):
        await ask(path, "echo")
    path.touch()
    with pytest.raises(ControlError, match="gave no answer"):
        await ask(path, "echo")


async def test_a_socket_that_a_dead_process_left_is_replaced(path: Path) -> None:
    left = ControlServer(path, {})
    await left.start()
    os.rename(path, path.with_suffix(".moved"))  # as if its process had been killed
    os.rename(path.with_suffix(".moved"), path)
    server = ControlServer(path, {"echo": echo})
    await server.start()
    assert await ask(path, "echo", 1) == {"you said": 1}
    await server.stop()
    await left.stop()


@pytest.mark.parametrize(
    "garbage", [b"\xff\xff\xff\xff", b"\0\0\0\x02{}", b"\0\0\0\x05x", b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_garbage_ends_one_talk_and_no_other(path: Path, garbage: bytes) -> None:
    server = ControlServer(path, {"echo": echo})
    await server.start()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(garbage)
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()
    assert await ask(path, "echo", 1) == {"you said": 1}
    await server.stop()


async def test_a_fan_out_hears_whom_it_can(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("a", "b", "gone")}
    servers = [ControlServer(paths["a"], {"v": echo}), ControlServer(paths["b"], {"v": fail})]
    for server in servers:
        await server.start()
    heard = await fan_out(paths, "v", 7)
    assert heard.answers == {"a": {"you said": 7}}
    assert "not today" in heard.errors["b"]
    assert "gave no answer" in heard.errors["gone"]
    for server in servers:
        await server.stop()


async def test_metrics_are_merged_and_silence_shows(tmp_path: Path) -> None:
    registry, own = Registry(), Registry()
    registry.counter("hits_total", "Hits.").bind().add(3)
    own.counter("hits_total", "Hits.").bind().add(1)

    async def metrics(_: object) -> list[FamilyShot]:
        return registry.snapshot()

    server = ControlServer(tmp_path / "a", {"metrics": metrics})
    await server.start()
    paths = {"a-1": tmp_path / "a", "b-1": tmp_path / "b"}
    text = (await merged_metrics(paths, {"supervisor": own.snapshot()})).decode()
    families = list(text_string_to_metric_families(text))
    assert [one.name for one in families] == ["hits", "switchgear_process_answered"]
    assert all(one.documentation for one in families)
    page = text.splitlines()
    assert 'hits_total{process="a-1"} 3' in page
    assert 'hits_total{process="supervisor"} 1' in page
    assert 'switchgear_process_answered{process="a-1"} 1' in page
    assert 'switchgear_process_answered{process="b-1"} 0' in page
    await server.stop()
