"""The community example as a real system in processes of its own, driven from outside."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from switchgear.drills.address import Address, dial
from switchgear.drills.scribe import Scribe
from switchgear.engines.postgres.dsn import Dsn
from tools.ports import free_port
from tools.source import ROOT, SOURCE

PASSWORD = "correct horse battery"
MAIL = "drill@example.org"


class System:
    """`switchgear up`, started, asked and ended as an operator would.

    `env` is added to the environment, `database` an external server as its superuser.
    """

    def __init__(
        self,
        data: Path,
        *flags: str,
        app: str = "examples/community",
        env: Mapping[str, str] | None = None,
        database: Dsn | None = None,
    ) -> None:
        self.data = data
        self.app = app
        self.flags = flags
        self.env = dict(env or {})
        self.database = database
        self.port = free_port()
        self.admin = free_port()
        self.lines: list[dict[str, Any]] = []
        self.noise: list[str] = []
        self.process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    @property
    def address(self) -> Address:
        """Where clients reach it."""
        return Address("127.0.0.1", self.port)

    @property
    def base(self) -> str:
        """The URL that clients use."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        """What starts it."""
        return [
            sys.executable,
            "-c",
            "from switchgear.cli import main; main()",
            "up",
            self.app,
            f"--port={self.port}",
            f"--admin=127.0.0.1:{self.admin}",
            f"--data={self.data}",
            *self.flags,
        ]

    @property
    def environment(self) -> dict[str, str]:
        """The environment that it is started in."""
        path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH", "")]))
        return {**os.environ, "PYTHONPATH": path, **self.env}

    async def start(self, within: float = 60.0) -> None:
        """Start it and wait until it says that it is ready."""
        self._ready.clear()
        self.process = await asyncio.create_subprocess_exec(
            *self.command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            stdin=asyncio.subprocess.DEVNULL,
            cwd=ROOT,
            env=self.environment,
            limit=1 << 24,
        )
        self._reading = asyncio.create_task(self._read(self.process))
        async with asyncio.timeout(within):
            await self._ready.wait()
        if self.process.returncode is not None:
            raise RuntimeError(f"it ended: {self.told()}")

    def told(self) -> str:
        """Return what it last said, for a failing test."""
        events = [line for line in self.lines if line.get("event") != "request"]
        return "\n".join([*map(json.dumps, events[-30:]), *self.noise[-30:]])

    async def stop(self, number: int = signal.SIGINT, within: float = 40.0) -> int:
        """End it by a signal, as a terminal or an orchestrator would; return the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ended(within)

    async def ended(self, within: float = 40.0) -> int:
        """Wait for its end; return the exit code."""
        assert self.process is not None
        async with asyncio.timeout(within):
            code = await self.process.wait()
        if self._reading is not None:
            await self._reading
        return code

    async def status(self) -> dict[str, Any]:
        """Ask the admin port for the state of everything."""
        token = (self.data / "admin.token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        _, body = await fetch(Address("127.0.0.1", self.admin), "GET", "/status", headers=headers)
        found: dict[str, Any] = json.loads(body)
        return found

    async def pid(self, label: str) -> int:
        """Return the process id of a seat."""
        rows = (await self.status())["rows"]
        return int(next(row["pid"] for row in rows if row["label"] == label))

    async def until(self, wanted: Callable[[dict[str, Any]], bool], within: float = 30.0) -> None:
        """Wait until the state is as wanted."""
        async with asyncio.timeout(within):
            while not wanted(await self.status()):
                await asyncio.sleep(0.1)

    async def all_ready(self, within: float = 30.0) -> None:
        """Wait until every process serves."""
        await self.until(lambda told: all(row["state"] == "ready" for row in told["rows"]), within)

    async def token(self, email: str = MAIL) -> str:
        """Sign up, sign in, and return an access token."""
        who = {"email": email, "password": PASSWORD}
        status, body = await fetch(self.address, "POST", "/accounts", who)
        assert status == 202, body
        status, body = await fetch(self.address, "POST", "/tokens", who)
        assert status == 201, body
        return str(json.loads(body)["access_token"])

    async def owner(self) -> "asyncpg.Connection[Any]":
        """Connect to the database as one who sees all: the outside witness's own eyes."""
        if self.database is not None:
            dsn = msgspec.structs.replace(self.database, database="switchgear")
            return await _connected(dsn)
        home = self.data / "postgres"
        for path in (home, *home.rglob("passwords.json")):
            if path.is_file():
                passwords = json.loads(path.read_text())
                folder = _socket_folder(path.parent)
                dsn = Dsn(
                    folder,
                    user="switchgear_owner",
                    password=passwords["switchgear_owner"],
                    database="switchgear",
                )
                return await _connected(dsn)
        raise FileNotFoundError(f"no embedded database under {home}")

    async def welcomed(self, scribe: Scribe) -> None:
        """Tell the ledger every welcome there is, once all messages are done."""
        connection = await self.owner()
        try:
            async with asyncio.timeout(60):
                while await connection.fetchval(
                    "select count(*) from users where welcomed_at is null"
                ):
                    await asyncio.sleep(0.1)
            rows = await connection.fetch(
                "select email from welcome_log join users on users.id = user_id"
            )
        finally:
            await connection.close()
        for row in rows:
            scribe.observed(row["email"])

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for raw in process.stdout:
            try:
                line = json.loads(raw)
            except ValueError:
                self.noise.append(raw.decode("utf-8", "replace").rstrip())
                continue
            self.lines.append(line)
            if line.get("event") == "ready" and line.get("process") == "supervisor":
                self._ready.set()
        await process.wait()
        self._ready.set()


async def _connected(dsn: Dsn) -> "asyncpg.Connection[Any]":
    connection: asyncpg.Connection[Any] = await asyncpg.connect(**dsn.arguments())
    return connection


def _socket_folder(home: Path) -> str:
    lines = (home / "cluster" / "postmaster.pid").read_text().splitlines()
    return lines[4]


async def fetch(
    address: Address,
    method: str,
    path: str,
    body: object = None,
    *,
    headers: dict[str, str] | None = None,
    within: float = 10.0,
) -> tuple[int, bytes]:
    """Ask once on a connection of its own, by a client that shares no code with the system."""
    async with asyncio.timeout(within):
        reader, writer = await dial(address)
        try:
            content = b"" if body is None else json.dumps(body).encode()
            lines = [f"{method} {path} HTTP/1.1", f"host: {address}", "connection: close"]
            if content:
                lines += ["content-type: application/json", f"content-length: {len(content)}"]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + content)
            answer = await reader.read()
        finally:
            writer.close()
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), rest


@asynccontextmanager
async def running(data: Path, *flags: str, **given: Any) -> AsyncIterator[System]:
    """Run a `System` for a while, and leave nothing of it behind."""
    system = System(data, *flags, **given)
    try:
        await system.start()
        yield system
    finally:
        if system.process is not None and system.process.returncode is None:
            await system.stop()


__all__ = ["System", "fetch", "running"]
