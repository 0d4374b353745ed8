"""The bodies of roles on this loop: real sockets between them, and a topology that tests change."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from switchgear.assembly.bodies.accounts import accounts
from switchgear.assembly.bodies.gateway import gateway
from switchgear.assembly.bodies.service import service
from switchgear.assembly.bodies.worker import worker
from switchgear.assembly.messages import Degraded, Ready, Upward
from switchgear.assembly.roles import Post, RoleContext
from switchgear.assembly.routes import ACCOUNTS, SERVICE
from switchgear.assembly.settings import Settings
from switchgear.assembly.topology import Endpoint, State, Topology, TopologyFeed
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.http.settings import ServerSettings
from switchgear.telemetry.logs import Log
from switchgear.telemetry.writer import LogWriter

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"

__all__ = ["Lines", "Role", "Stand", "quick", "standing"]

_BODIES = {"gateway": gateway, SERVICE: service, ACCOUNTS: accounts, "worker": worker}


def quick(**fields: Any) -> Settings:
    """Settings with which an idle connection does not hold a drain up."""
    return Settings(http=ServerSettings(drain_grace=0.05), **fields)


class Lines:
    """A sink that keeps the log's lines."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []

    def write(self, lines: list[bytes]) -> None:
        self.raw += lines

    def of(self, event: str) -> list[dict[str, Any]]:
        read = [msgspec.json.decode(line) for line in self.raw]
        return [line for line in read if line["event"] == event]


class Role:
    """One running body."""

    def __init__(self, stand: "Stand", post: Post, sockets: tuple[socket.socket, ...]) -> None:
        self.stand = stand
        self.state = State.STARTING
        self.degraded: tuple[str, ...] = ()
        self.ready = asyncio.Event()
        offers = dict.fromkeys(("app", "accounts"), NOWHERE)
        if stand.roles is not None:
            offers = {"app": stand.roles.app.url(), "accounts": stand.roles.accounts.url()}
        self.context = RoleContext(
            post,
            stand.settings,
            stand.log,
            app=stand.app,
            boot_key=stand.boot_key,
            sockets=sockets,
            offers=offers,
            topology=TopologyFeed(),
            tell=self._tell,
        )
        body: Callable[[RoleContext], Awaitable[None]] = _BODIES[post.role]
        self.task = asyncio.ensure_future(body(self.context))

    async def is_ready(self) -> None:
        ready = asyncio.ensure_future(self.ready.wait())
        await asyncio.wait({ready, self.task}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self.task.done():
            self.task.result()

    async def drain(self) -> None:
        self.state = State.DRAINING
        self.stand.publish()
        self.context.drain(5.0)
        await self.task

    async def kill(self) -> None:
        """End it as a crash would: nothing is finished."""
        self.state = State.DOWN
        self.stand.publish()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def _tell(self, message: Upward) -> None:
        if isinstance(message, Ready):
            self.state = State.READY
            self.ready.set()
        elif isinstance(message, Degraded):
            self.degraded = message.reasons
        self.stand.publish()


class Stand:
    """Everything that runs, and what all of it shares."""

    def __init__(self, folder: Path, app: Any, settings: Settings, roles: Roles | None) -> None:
        self.folder = folder
        self.app = app
        self.settings = settings
        self.roles = roles
        self.boot_key = os.urandom(32)
        self.lines = Lines()
        self.writer = LogWriter(self.lines)
        self.log = Log(self.writer, "test")
        self.running: list[Role] = []
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1024)
        self.listener.setblocking(False)
        self.port = int(self.listener.getsockname()[1])
        self._version = 0

    async def start(self, role: str, index: int = 1, generation: int = 1) -> Role:
        """Start a body, and wait until it serves."""
        serves = role in (SERVICE, ACCOUNTS)
        endpoint = f"unix:{self.folder}/{role}-{index}.{generation}" if serves else ""
        sockets = (self.listener.dup(),) if role == "gateway" else ()
        started = Role(self, Post(role, index, generation, endpoint), sockets)
        self.running.append(started)
        await started.is_ready()
        return started

    def publish(self) -> None:
        """Tell everybody who serves, as a supervisor does."""
        self._version += 1
        posts = [(one, one.context.post) for one in self.running]
        told = Topology(
            self._version,
            tuple(
                Endpoint(
                    post.role, post.index, post.endpoint, one.state, post.generation, one.degraded
                )
                for one, post in posts
                if post.endpoint
            ),
        )
        for one in self.running:
            one.context.topology.put(told)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return what was logged so far under a name."""
        self.writer.flush(5.0)
        return self.lines.of(event)


@asynccontextmanager
async def standing(
    folder: Path,
    app: Any,
    *names: str,
    settings: Settings | None = None,
    roles: Roles | None = None,
) -> AsyncIterator[Stand]:
    """Run the roles of those names: as many of each as it is named."""
    stand = Stand(folder, app, settings or quick(), roles)
    try:
        for name in names:
            index = 1 + sum(one.context.name == name for one in stand.running)
            await stand.start(name, index)
        yield stand
        for one in sorted(stand.running, key=lambda role: role.context.name != "gateway"):
            if not one.task.done():
                await one.drain()
    finally:
        for one in stand.running:
            one.task.cancel()
        await asyncio.gather(*(one.task for one in stand.running), return_exceptions=True)
        stand.listener.close()
        stand.writer.close()
