"""Toy roles: as small as a role can be, and able to fail in every way that real ones do.

They answer HTTP by hand, so that the machinery is tested without the rooms that stand on it. What a
toy is to do is asked of it by request: GET /pid, /block, /hang, /crash, /leave, /slow, /children.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from switchgear.assembly.failures import StartError
from switchgear.assembly.messages import RunAs
from switchgear.assembly.roles import Plan, RoleContext, RoleSpec, Teller
from switchgear.assembly.settings import Settings
from switchgear.assembly.target import Target


async def gateway(context: RoleContext) -> None:
    """Answer on the public socket; finish what was begun when told to drain."""
    toy = Toy(context)
    server = await asyncio.start_server(toy.talk, sock=context.sockets[0])
    context.requests = lambda: toy.served
    try:
        context.ready()
        await context.draining.wait()
    finally:  # of one that is left open uvloop warns at its close, and hangs if that is an error
        server.close()
    await toy.finish()
    note(context, "drained")


async def service(context: RoleContext) -> None:
    """Answer on its own endpoint."""
    toy = Toy(context)
    path = context.post.endpoint.removeprefix("unix:")
    Path(path).unlink(missing_ok=True)
    server = await asyncio.start_unix_server(toy.talk, path)
    try:
        context.ready()
        await context.draining.wait()
    finally:
        server.close()
    await toy.finish()
    note(context, "drained")


async def worker(context: RoleContext) -> None:
    """Do nothing, and be degraded if the file `degraded` says so."""
    context.ready()
    while not context.draining.is_set():
        mood = Path(context.settings.data, "mood")
        context.degraded("database", mood.read_text() if mood.exists() else None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await context.draining.wait()
    note(context, "drained")


async def stubborn(context: RoleContext) -> None:
    """Never drain."""
    context.ready()
    await asyncio.Event().wait()


async def chatty(context: RoleContext) -> None:
    """Print, as user code does, and log."""
    context.ready()
    print("a print of user code")
    context.log.info("a line of the log")
    await context.draining.wait()


async def logging(context: RoleContext) -> None:
    """Log, and print nothing."""
    context.ready()
    context.log.info("a line of the log")
    await context.draining.wait()
    context.log.info("another one")


async def flooding(context: RoleContext) -> None:
    """Print without end."""
    context.ready()
    while not context.draining.is_set():
        print("w" * 100)
        await asyncio.sleep(0.0005)


async def broken(context: RoleContext) -> None:
    """Die at once, each time."""
    context.ready()
    raise RuntimeError("broken by design")


async def picky(context: RoleContext) -> None:
    """Find something that the operator must change."""
    raise StartError("the toy wants another table")


class Toy:
    def __init__(self, context: RoleContext) -> None:
        self.context = context
        self.served = 0
        self.talks: set[asyncio.Task[None]] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.talks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.served += 1
            body = await self.answer(head.split()[1].decode())
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.talks.discard(task)

    async def finish(self) -> None:
        if self.talks:
            await asyncio.wait(self.talks, timeout=self.context.drain_within)
        if self.talks:
            self.context.give_up("talks were cut")

    async def answer(self, path: str) -> bytes:
        context = self.context
        if path == "/block":
            time.sleep(1.0)
        if path == "/hang":
            time.sleep(3600)
        if path == "/crash":
            os._exit(7)
        if path == "/segv":
            import ctypes

            ctypes.string_at(0)
        if path == "/slow":
            await asyncio.sleep(1.0)
        if path == "/thread":
            await asyncio.to_thread(time.sleep, 3600)
        if path == "/endless":
            await asyncio.sleep(3600)
        if path == "/children":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
            return str(child.pid).encode()
        if path == "/key":
            return context.boot_key
        if path == "/offers":
            return repr(dict(context.offers)).encode()
        if path == "/environ":
            return b"\n".join(f"{k}={v}".encode() for k, v in os.environ.items())
        if path == "/topology":
            return b"\n".join(
                f"{one.label} {one.state.value} {one.generation} {one.address}".encode()
                for one in context.topology.current.endpoints
            )
        return str(os.getpid()).encode()


def note(context: RoleContext, what: str) -> None:
    """Write down what happened, with the instant, for the test to read."""
    with open(Path(context.settings.data, "notes"), "a") as notes:
        notes.write(f"{time.monotonic()} {context.label} {what}\n")


class Aux:
    """An auxiliary that is a real process, as the database is."""

    def __init__(self, data: Path) -> None:
        self.name = "toybase"
        self.external = (data / "aux-waits").exists()
        self.data = data
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        while (self.data / "aux-waits").exists():
            await asyncio.sleep(0.02)
        if (self.data / "aux-fails").exists():
            raise StartError("the toybase has no room")
        if (self.data / "aux.pid").exists():  # a killed run left it
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((self.data / "aux.pid").read_text()), signal.SIGKILL)
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True
        )
        (self.data / "aux.pid").write_text(str(self.process.pid))

    async def stop(self) -> None:
        if (self.data / "aux-hangs").exists():
            await asyncio.sleep(3600)
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            await asyncio.sleep(0.3)  # its end must not be taken for a death meanwhile
        (self.data / "aux.pid").unlink(missing_ok=True)
        with open(self.data / "notes", "a") as notes:
            notes.write(f"{time.monotonic()} toybase stopped\n")

    def trouble(self) -> str:
        return "no room" if (self.data / "aux-full").exists() else ""

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def offers(self) -> dict[str, str]:
        return {"url": "toy://here", "admin_url": "toy://secret"}


def plan(settings: Settings, target: Target) -> Plan:
    """What the tests run: gateways, services, a worker, and what SPECS adds."""
    here = "tests.integration.processes.toys"
    counts = settings.processes
    roles = [
        RoleSpec("gateway", f"{here}:gateway", counts.gateways, rank=0, public=True, offers=()),
        RoleSpec(
            "service", f"{here}:service", counts.services, rank=1, serves=True, offers=("url",)
        ),
        RoleSpec("worker", f"{here}:worker", counts.workers, rank=2),
    ]
    extra = os.environ.get("TOY_EXTRA", "")
    if extra:
        roles.append(RoleSpec(extra, f"{here}:{extra}", rank=1, app=False))
    account = os.environ.get("TOY_ACCOUNT", "")
    if account:
        uid, gid = map(int, account.split(":"))
        roles = [msgspec.structs.replace(one, run_as=RunAs(uid, gid)) for one in roles]
    data = Path(settings.data)
    return Plan(tuple(one for one in roles if one.count), (Aux(data),), Admin)


class Admin:
    def __init__(self, teller: Teller, sock: socket.socket) -> None:
        self.sock = sock

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.sock.close()
