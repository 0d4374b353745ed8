"""The admin port: who may ask, by which name, and where the token may come from."""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from switchgear.assembly.admin import TOKEN_FILE, Admin, Hosts, admin_token
from switchgear.assembly.control import ControlServer
from switchgear.assembly.failures import StartError
from switchgear.assembly.office import supervised
from switchgear.assembly.roles import Post, RoleContext
from switchgear.assembly.secret import Secret
from switchgear.assembly.settings import Settings, Trust
from switchgear.assembly.single import Single
from switchgear.assembly.status import Figures, Row, Status
from switchgear.assembly.topology import State
from switchgear.telemetry.logs import Log
from switchgear.telemetry.process import LagProbe
from switchgear.telemetry.writer import DescriptorSink, LogWriter
from tests.integration.http.harness import Answer, ask


def refused(data: Path, words: str) -> None:
    with pytest.raises(StartError, match=words) as raised:
        admin_token(data)
    assert str(data / TOKEN_FILE) in raised.value.sentence
    assert raised.value.sentence.endswith("Remove it, and a new one is made")


# The token


def test_a_token_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    token = admin_token(tmp_path)
    path = tmp_path / TOKEN_FILE
    assert len(token) >= 43
    assert path.stat().st_mode & 0o777 == 0o600
    assert admin_token(tmp_path) == token
    assert [one.name for one in tmp_path.iterdir()] == [TOKEN_FILE]
    path.unlink()
    assert admin_token(tmp_path) != token


def test_a_narrow_umask_or_a_wide_one_changes_nothing(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        admin_token(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("x" * 43)
    (tmp_path / "elsewhere").chmod(0o600)
    (tmp_path / TOKEN_FILE).symlink_to(tmp_path / "elsewhere")
    refused(tmp_path, "it is a link")
    (tmp_path / "elsewhere").unlink()
    refused(tmp_path, "it is a link")  # nor is one that leads nowhere written through


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o601])
def test_a_file_that_others_can_open_is_no_secret(tmp_path: Path, mode: int) -> None:
    admin_token(tmp_path)
    (tmp_path / TOKEN_FILE).chmod(mode)
    refused(tmp_path, f"its mode is 0{mode:o}, not 0600")


@pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root can give a file away")
def test_a_file_of_somebody_elses_is_not_believed(tmp_path: Path) -> None:
    admin_token(tmp_path)
    os.chown(tmp_path / TOKEN_FILE, 65534, 65534)
    refused(tmp_path, "it belongs to the account 65534, not to 0")


def test_what_is_no_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / TOKEN_FILE, 0o600)
    refused(tmp_path, "it is no plain file")
    (tmp_path / TOKEN_FILE).unlink()
    (tmp_path / TOKEN_FILE).mkdir()
    refused(tmp_path, "directory|no plain file")


@pytest.mark.parametrize("held", [b"", b"\n", b"short\n", b"\xff" * 43, "ä".encode() * 43])
def test_what_is_no_token_is_not_accepted_as_one(tmp_path: Path, held: bytes) -> None:
    """A file cut short by a full disk would else be a password that everybody knows: none."""
    path = tmp_path / TOKEN_FILE
    path.write_bytes(held)
    path.chmod(0o600)
    refused(tmp_path, "it holds no")


# The Host


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("127.0.0.1", "127.0.0.1:9080"),
        ("127.0.0.1", "localhost:9080"),
        ("[::1]", "[::1]:9080"),
        ("[::1]", "localhost:9080"),
        ("10.0.0.5", "10.0.0.5:9080"),
        ("0.0.0.0", "10.0.0.5:9080"),
        ("[::]", "[2001:db8::5]:9080"),
        ("0.0.0.0", "localhost:9080"),
    ],
)
def test_who_is_asked_for_by_its_name(bound: str, asked: str) -> None:
    assert Hosts(bound, 9080).has(asked)


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("127.0.0.1", ""),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1:9081"),
        ("127.0.0.1", "evil.example:9080"),
        ("127.0.0.1", "127.0.0.1.evil.example:9080"),
        ("127.0.0.1", "10.0.0.5:9080"),
        ("10.0.0.5", "localhost:9080"),
        ("0.0.0.0", "evil.example:9080"),
        ("0.0.0.0", "10.0.0.5"),
        ("0.0.0.0", ":9080"),
        ("0.0.0.0", "10.0.0.5.evil.example:9080"),
    ],
)
def test_who_is_not(bound: str, asked: str) -> None:
    """A browser that was lured to a name of somebody else's brings that name."""
    assert not Hosts(bound, 9080).has(asked)


# The port


class Office:
    """A supervisor that tells what the test says."""

    def __init__(self, rows: list[Row], sockets: Mapping[str, Path]) -> None:
        self.rows = rows
        self.known = sockets

    def status(self) -> Status:
        return Status(1, "http://a", "http://b", True, False, 1.0, self.rows, {"database": True})

    def sockets(self) -> Mapping[str, Path]:
        return self.known

    def stop(self, why: str) -> None: ...

    def replace(self, label: str | None = None) -> list[str]:
        return []


def row(label: str, state: State = State.READY, *degraded: str) -> Row:
    return Row(label, label.rpartition("-")[0], state, 7, 0, 1.0, Figures(), degraded)


class Port:
    def __init__(self, port: int, token: str, office: Office) -> None:
        self.port = port
        self.token = token
        self.office = office

    async def ask(self, path: str, method: str = "GET", **lines: str | None) -> Answer:
        given = {"host": f"127.0.0.1:{self.port}", "authorization": f"Bearer {self.token}", **lines}
        fields = "".join(
            f"{name}: {value}\r\n" for name, value in given.items() if value is not None
        )
        head = f"{method} {path} HTTP/1.1\r\n{fields}connection: close\r\n\r\n"
        (found,) = await ask(self.port, head.encode("latin-1"), (method,))
        return found

    async def json(self, path: str) -> Any:
        found = await self.ask(path)
        assert found.status == 200, found
        return json.loads(found.body)


@asynccontextmanager
async def admin(data: Path, rows: list[Row], **answers: Any) -> AsyncIterator[Port]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.setblocking(False)
    controls = []
    for name, verbs in answers.items():
        path = data / f"{name}.sock"
        control = ControlServer(path, verbs)
        await control.start()
        controls.append((name.replace("_", "-"), path, control))
    office = Office(rows, {label: path for label, path, _ in controls})
    server = Admin(Settings(data=str(data)), office, sock)
    await server.start()
    try:
        yield Port(int(sock.getsockname()[1]), admin_token(data), office)
    finally:
        await server.stop()
        for _, _, control in controls:
            await control.stop()
        sock.close()


def saying(verb: str, what: object) -> dict[str, Any]:
    async def answer(_: Any) -> Any:
        return what

    return {verb: answer}


async def test_only_who_holds_the_token_is_told_anything(tmp_path: Path) -> None:
    async with admin(tmp_path, [row("gateway-1")]) as port:
        assert (await port.ask("/status")).status == 200
        wrong = [None, "", "Bearer", "Bearer ", f"Basic {port.token}", f"bearer {port.token}",
                 f"Bearer {port.token}x", f"Bearer {port.token[:-1]}", "Bearer \xe9"]  # fmt: skip
        for value in wrong:
            for path in ("/status", "/metrics", "/nothing"):
                found = await port.ask(path, authorization=value)
                assert found.status == 401, (path, value)
                assert port.token not in str(found)
        for path in ("/health/live", "/health/ready"):
            assert (await port.ask(path, authorization=None)).status == 200


async def test_another_name_is_misdirected_whatever_it_brings(tmp_path: Path) -> None:
    async with admin(tmp_path, [row("gateway-1")]) as port:
        for host in ("evil.example", f"evil.example:{port.port}", "127.0.0.1"):
            for path in ("/status", "/health/live"):
                assert (await port.ask(path, host=host)).status == 421


async def test_nothing_is_shared_with_pages_of_others_or_kept(tmp_path: Path) -> None:
    async with admin(tmp_path, [row("gateway-1")]) as port:
        found = await port.ask("/status", origin="https://evil.example")
        assert not [name for name in found.headers if name.startswith("access-control-")]
        assert found.headers["cache-control"] == "no-store"
        asked = await port.ask("/status", "OPTIONS", origin="https://evil.example")
        assert asked.status == 405
        assert not [name for name in asked.headers if name.startswith("access-control-")]


async def test_it_is_only_for_reading(tmp_path: Path) -> None:
    async with admin(tmp_path, [row("gateway-1")]) as port:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            found = await port.ask("/status", method)
            assert (found.status, found.headers["allow"]) == (405, "GET, HEAD")
        assert (await port.ask("/status", "HEAD")).body == b""
        missing = await port.ask("/nothing")
        assert missing.status == 404
        assert "/metrics" in json.loads(missing.body)["pages"]


async def test_it_is_ready_while_any_door_is_open(tmp_path: Path) -> None:
    rows = [
        row("gateway-1", State.DOWN),
        row("gateway-2"),
        row("service-1", State.READY, "database: x"),
    ]
    async with admin(tmp_path, rows) as port:
        found = await port.json("/health/ready")
        assert found["status"] == "ready"
        assert found["roles"]["service-1"] == {"state": "ready", "degraded": ["database: x"]}
        port.office.rows = [row("gateway-1", State.DOWN), row("service-1")]
        assert (await port.ask("/health/ready")).status == 503
        port.office.rows = [row("dev-1")]  # a whole system in one process
        assert (await port.ask("/health/ready")).status == 200


async def test_each_process_is_asked_and_a_silent_one_costs_only_its_own_answer(
    tmp_path: Path,
) -> None:
    rows = [row("gateway-1"), row("worker-1")]
    async with admin(
        tmp_path,
        rows,
        gateway_1=saying("upstreams", {"service": 1}),
        gateway_2=saying("other", None),
        worker_1=saying("consumers", {"a": 1}),
    ) as port:
        found = await port.json("/upstreams")
        assert found["answers"] == {"gateway-1": {"service": 1}}
        assert list(found["errors"]) == ["gateway-2"]
        assert (await port.json("/consumers"))["answers"] == {"worker-1": {"a": 1}}
        page = await port.ask("/metrics")
        assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert b'switchgear_process_answered{process="gateway-2"} 0' in page.body


async def test_a_whole_system_in_one_process_answers_for_all_its_roles(tmp_path: Path) -> None:
    verbs = {**saying("upstreams", {"service": 1}), **saying("consumers", {"a": 1})}
    async with admin(tmp_path, [row("dev-1")], dev_1=verbs) as port:
        assert (await port.json("/upstreams"))["answers"] == {"dev-1": {"service": 1}}
        assert (await port.json("/consumers"))["answers"] == {"dev-1": {"a": 1}}


async def test_many_at_once(tmp_path: Path) -> None:
    async with admin(tmp_path, [row("gateway-1")]) as port:
        found = await asyncio.gather(*(port.ask("/status") for _ in range(20)))
        assert {one.status for one in found} == {200}


# Of a process that runs singly


async def test_one_that_runs_singly_is_ready_by_itself(tmp_path: Path) -> None:
    async with admin(tmp_path, [row("worker-1", State.STARTING)]) as port:
        assert (await port.ask("/health/ready")).status == 503
        port.office.rows[:] = [row("worker-1")]
        assert (await port.ask("/health/ready")).status == 200
        port.office.rows[:] = [row("worker-1", State.DRAINING)]
        assert (await port.ask("/health/ready")).status == 503


async def test_a_token_of_the_settings_opens_it_and_no_file_is_made(tmp_path: Path) -> None:
    secret = "a token of the settings, which is long enough"
    settings = Settings(data=str(tmp_path), trust=Trust(admin_token=Secret(value=secret)))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.setblocking(False)
        server = Admin(settings, Office([row("service-1")], {}), sock)
        await server.start()
        port = Port(int(sock.getsockname()[1]), secret, Office([], {}))
        assert (await port.ask("/status")).status == 200
        port.token = "another"
        assert (await port.ask("/status")).status == 401
        await server.stop()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [("short", "admin_token has 5 characters"), ("é" * 40, "ASCII would be right")],
)
def test_a_token_that_anybody_could_guess_or_nobody_could_send_is_refused(
    text: str, told: str
) -> None:
    (problem,) = Trust(admin_token=Secret(value=text)).problems()
    assert told in problem


def test_of_a_single_process_its_figures_stand_under_its_own_name(tmp_path: Path) -> None:
    context = RoleContext(
        Post("service"), Settings(), Log(LogWriter(DescriptorSink(1)), "t"), tell=lambda _: None
    )
    context.requests = lambda: 7
    probe = LagProbe(context.registry, clock=time.perf_counter)
    ready = False
    single = Single(context, probe, "http://a", tmp_path / "control", lambda: ready)
    assert [one.state for one in single.status().rows] == [State.STARTING]
    ready = True
    single.beat()
    (only,) = single.status().rows
    assert (only.label, only.state, only.figures.requests) == ("service-1", State.READY, 7)
    context.degraded("database", "it is away")
    assert single.status().rows[0].degraded == ("database: it is away",)
    context.leaving = True
    assert single.status().rows[0].state is State.DRAINING
    assert list(supervised(single.status())) == ["service-1"]
    assert single.sockets() == {"service-1": tmp_path / "control"}
