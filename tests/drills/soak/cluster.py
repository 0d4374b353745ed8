"""The soak's system as a cluster: each role by itself, a fault proxy on each way between two."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from switchgear.drills.address import Address
from switchgear.drills.proxy import Proxy
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.embedded import EmbeddedPostgres, EmbeddedSettings
from tests.drills.system import fetch
from tools.ports import free_port
from tools.source import ROOT, SOURCE

__all__ = ["Cluster", "Seat"]

KEY: Final = "0123456789abcdef" * 2
START: Final = 60.0
END: Final = 30.0


class Seat:
    """One role, started again whenever its process ends, as a container is."""

    def __init__(self, label: str, words: list[str], environ: dict[str, str], log: Path) -> None:
        self.label = label
        self.pid = 0
        self.code: int | None = None
        self._words = words
        self._environ = environ
        self._log = log
        self._wanted = True
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> int | None:
        """End it as an orchestrator does; return how the last process ended."""
        self._wanted = False
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        async with asyncio.timeout(END):
            await self._keeping
        return self.code

    async def _keep(self) -> None:
        while self._wanted:
            with self._log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    "from switchgear.cli import main; main()",
                    *self._words,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=ROOT,
                    env=self._environ,
                )
            self.pid = process.pid
            self.code = await process.wait()


class Cluster:
    """Gateways, services, accounts and workers around a PostgreSQL; `proxies` by "who>whom"."""

    def __init__(self, data: Path, server: EmbeddedPostgres, dsn: Dsn) -> None:
        self.data = data
        self.server = server
        self.proxies: dict[str, Proxy] = {}
        self.seats: dict[str, Seat] = {}
        self.gateways: list[Address] = []
        self._dsn = dsn
        self._peers: dict[str, list[int]] = {"service": [], "accounts": []}

    @classmethod
    @asynccontextmanager
    async def running(cls, data: Path) -> AsyncIterator["Cluster"]:
        """Run one until the block is left; each process must then end as it is asked to."""
        data.mkdir()
        port = free_port()
        options = {"listen_addresses": "127.0.0.1", "port": str(port), "fsync": "off"}
        server = EmbeddedPostgres(data / "external", EmbeddedSettings(options=options))
        own = await server.start()
        cluster = cls(data, server, Dsn("127.0.0.1", port, own.user, own.password))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(server.stop, "immediate")
            for role in (
                "service",
                "service",
                "accounts",
                "worker",
                "worker",
                "gateway",
                "gateway",
            ):
                await cluster._seat(role, stack)
            await cluster._ready()
            yield cluster
            for seat in reversed(cluster.seats.values()):
                assert await seat.stop() == 0, seat.label

    async def owner(self) -> "asyncpg.Connection[Any]":
        """Connect to the database as one who sees all, by no proxy."""
        dsn = msgspec.structs.replace(self._dsn, database="switchgear")
        connection: asyncpg.Connection[Any] = await asyncpg.connect(**dsn.arguments())
        return connection

    def said(self) -> list[dict[str, Any]]:
        """Return what all of them have logged."""
        found = []
        for file in self.data.glob("*.log"):
            for line in file.read_text("utf-8", "replace").splitlines():
                with suppress(ValueError):
                    found.append(json.loads(line))
        return found

    async def _seat(self, role: str, stack: AsyncExitStack) -> None:
        label = f"{role}-{1 + sum(one.startswith(role) for one in self.seats)}"
        port = free_port()
        dsn = msgspec.structs.replace(self._dsn, port=await self._way(label, "database", stack))
        words = [
            "run",
            role,
            "tests/drills/soak",
            f"--data={self.data / label}",
            "--set=database.url.env=SOAK_DATABASE",
            "--set=trust.internal_key.env=SOAK_KEY",
        ]
        if role != "worker":
            words.append(f"--port={port}")
        if role == "gateway":
            self.gateways.append(Address("127.0.0.1", port))
            for peer, ports in self._peers.items():
                ways = [
                    f"tcp:127.0.0.1:{await self._way(label, f'{peer}-{number}', stack, one)}"
                    for number, one in enumerate(ports, 1)
                ]
                words.append(f"--set=peers.{peer}={json.dumps(ways)}")
        elif role in self._peers:
            self._peers[role].append(port)
        path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH", "")]))
        environ = {"PYTHONPATH": path, "SOAK_DATABASE": dsn.url(), "SOAK_KEY": KEY}
        log = self.data / f"{label}.log"
        seat = self.seats[label] = Seat(label, words, {**os.environ, **environ}, log)
        stack.push_async_callback(seat.stop)

    async def _way(self, who: str, whom: str, stack: AsyncExitStack, port: int = 0) -> int:
        """Open a way from one to another; without a port, to the database. Return its own port."""
        target = Address("127.0.0.1", port or self._dsn.port)
        proxy = Proxy(Address("127.0.0.1", free_port()), target, seed=1)
        self.proxies[f"{who}>{whom}"] = await stack.enter_async_context(proxy)
        return proxy.address.port

    async def _ready(self) -> None:
        async with asyncio.timeout(START):
            for address in self.gateways:
                for path in ("/notes", "/.well-known/jwks.json"):
                    while not await _answers(address, path):
                        await asyncio.sleep(0.1)


async def _answers(address: Address, path: str) -> bool:
    with suppress(OSError, TimeoutError, IndexError):
        return (await fetch(address, "GET", path))[0] == 200
    return False
