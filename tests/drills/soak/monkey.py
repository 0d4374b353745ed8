"""The soak's monkey: at instants and on victims that a seed chooses, it does what happens."""

import asyncio
import os
import random
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from tests.drills.system import System, fetch

__all__ = ["PAUSES", "Monkey", "Strike", "frozen", "send"]

PAUSES: Final = (0.3, 1.0, 3.0, 9.0)  # seconds between two blows: short ones strike a wounded one
NOTICED: Final = 5.0  # seconds from which on whoever hangs is known to: three beats, and their like
WITHOUT_DATABASE: Final = frozenset({"ping", "stream", "upload", "socket"})
SIGN_IN: Final = frozenset({"sign-in", "refresh"})
WITH_DATABASE: Final = frozenset({"list", "keyed", "plain", "doomed"})
# What the failure of a role does not touch. A connection to a gateway dies with that, and with a
# service each answer that it has begun.
SPARED: Final = {
    "accounts": WITHOUT_DATABASE | WITH_DATABASE,
    "worker": WITHOUT_DATABASE | WITH_DATABASE | SIGN_IN,
    "service": SIGN_IN,
}
TROUBLES: Final = ("hang", "block", "allocate", "raise", "exit", "abort", "descriptors")
FATAL: Final = (signal.SIGQUIT, signal.SIGSEGV, signal.SIGABRT, signal.SIGHUP)


class Strike(msgspec.Struct):
    """What was done and when. `spared` may not notice, `shown` has to be in the status."""

    name: str
    struck: float
    healed: float = 0.0
    spared: frozenset[str] = frozenset()
    shown: str = ""


class Monkey:
    """Strikes a running system, one blow after the other."""

    def __init__(self, system: System, chance: random.Random) -> None:
        self.strikes: list[Strike] = []
        self._system = system
        self._chance = chance
        # What is written twice is twice as likely.
        self._blows: tuple[Callable[[], Awaitable[None]], ...] = (
            self.kill, self.kill, self.stop, self.stop, self.term, self.fatal, self.every, self.hog,
            self.trouble, self.trouble, self.limit, self.backend, self.frozen_backend,
            self.postmaster, self.frozen_database, self.full, self.locked, self.supervisor,
            self.frozen_supervisor,
        )  # fmt: skip

    async def rage(self, seconds: float) -> None:
        """Strike until the time is over; what was struck is healed then."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await self._chance.choice(self._blows)()
            await asyncio.sleep(self._chance.choice(PAUSES))

    async def kill(self) -> None:
        """Kill one process."""
        role, label, pid = await self._victim()
        async with self._blow(f"kill {label}", SPARED.get(role)):
            send([pid], signal.SIGKILL)

    async def term(self) -> None:
        """End one process by SIGTERM, as somebody with a shell would."""
        role, label, pid = await self._victim()
        async with self._blow(f"SIGTERM to {label}", SPARED.get(role)):
            send([pid], signal.SIGTERM)

    async def fatal(self) -> None:
        """Send one process a signal that it does not expect."""
        role, label, pid = await self._victim()
        number = self._chance.choice(FATAL)
        async with self._blow(f"{number.name} to {label}", SPARED.get(role)):
            send([pid], number)

    async def stop(self) -> None:
        """Stop one process for a while."""
        role, label, pid = await self._victim()
        span = self._span()
        shown = f"{label} is unroutable" if span > NOTICED else ""
        async with self._blow(f"stop {label} for {span:.1f} s", SPARED.get(role), shown):
            await frozen([pid], span)

    async def every(self) -> None:
        """Kill every process of a role at once."""
        role = self._chance.choice(["gateway", "service", "worker"])
        rows = (await self._system.status())["rows"]
        async with self._blow(f"kill every {role}", SPARED[role] if role == "worker" else None):
            alive = [row["pid"] for row in rows if row["role"] == role and row["pid"]]
            send(alive, signal.SIGKILL)

    async def limit(self) -> None:
        """Let one process open no more files, or have no more memory, for a while."""
        role, label, pid = await self._victim()
        if self._chance.random() < 0.2:
            role, label, pid = "supervisor", "the supervisor", self._supervisor
        span, files = self._span(0.5), self._chance.random() < 0.6
        what = resource.RLIMIT_NOFILE if files else resource.RLIMIT_AS
        name = f"no {'descriptor' if files else 'memory'} for {label} for {span:.1f} s"
        async with self._blow(name, SPARED.get(role)):
            with suppress(OSError):  # it ended meanwhile
                before = resource.prlimit(pid, what)
                resource.prlimit(pid, what, (_held(pid, files), before[1]))
                await asyncio.sleep(span)
                resource.prlimit(pid, what, before)

    async def hog(self) -> None:
        """Take the processors away."""
        span = self._span(0.5, 5.0)
        async with self._blow(f"no processor for {span:.1f} s"):
            hogs = [
                await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
                for _ in range(2 * (os.cpu_count() or 1))
            ]
            await asyncio.sleep(span)
            for one in hogs:
                one.kill()
                await one.wait()

    async def trouble(self) -> None:
        """Have a handler behave as badly as one can."""
        kind, span = self._chance.choice(TROUBLES), self._span(0.2, 9.0)
        async with self._blow(f"a handler: {kind} for {span:.1f} s", SPARED["service"]):
            with suppress(OSError, TimeoutError, IndexError):  # it may be answered by a reset
                path = f"/trouble/{kind}?seconds={span:.1f}"
                await fetch(self._system.address, "POST", path, within=span + 5)

    async def backend(self) -> None:
        """Kill one process of the database, which ends all of its sessions, or end one session."""
        number = self._chance.choice([signal.SIGKILL, signal.SIGTERM])
        _, *under = await self._database()
        async with self._blow(f"{number.name} to a process of the database", WITHOUT_DATABASE):
            send([self._chance.choice(under)], number)

    async def frozen_backend(self) -> None:
        """Stop one process of the database for a while."""
        span = self._span()
        _, *under = await self._database()
        async with self._blow(f"stop a process of the database for {span:.1f} s", WITHOUT_DATABASE):
            await frozen([self._chance.choice(under)], span)

    async def postmaster(self) -> None:
        """Kill the database, or have it stop."""
        number = self._chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGQUIT])
        postmaster, *_ = await self._database()
        async with self._blow(f"{number.name} to the postmaster", WITHOUT_DATABASE):
            send([postmaster], number)

    async def frozen_database(self) -> None:
        """Stop every process of the database for a while."""
        span = self._span()
        shown = "database" if span > NOTICED else ""
        async with self._blow(f"stop the database for {span:.1f} s", WITHOUT_DATABASE, shown):
            # The postmaster comes first: from then on there are no new ones.
            await frozen(await self._database(), span)

    async def full(self) -> None:
        """Take all places that the database has for connections."""
        span = self._span(0.5, 8.0)
        held: list[asyncpg.Connection[Any]] = []
        async with self._blow(f"no connection is left for {span:.1f} s", WITHOUT_DATABASE):
            with suppress(asyncpg.PostgresError, OSError):
                while True:
                    held.append(await self._system.owner())
            await asyncio.sleep(span)
            for one in held:
                one.terminate()

    async def locked(self) -> None:
        """Hold a transaction open that has a table for itself."""
        span = self._span(0.5, 8.0)
        table = self._chance.choice(["note", "seen", "switchgear.ready", "switchgear.idempotency"])
        async with self._blow(f"lock {table} for {span:.1f} s", WITHOUT_DATABASE):
            with suppress(asyncpg.PostgresError, OSError):  # the database is being started
                holder = await self._system.owner()
                await holder.execute(f"begin; lock table {table} in access exclusive mode")
                await asyncio.sleep(span)
                holder.terminate()

    async def supervisor(self) -> None:
        """End the supervisor, and start the system again."""
        number = self._chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        async with self._blow(f"{number.name} to the supervisor, and up again"):
            code = await self._system.stop(number)
            assert code == (-signal.SIGKILL if number is signal.SIGKILL else 0), code
            await self._system.start()

    async def frozen_supervisor(self) -> None:
        """Stop the supervisor for a while: nobody else may notice."""
        span = self._span()
        everybody = WITHOUT_DATABASE | WITH_DATABASE | SIGN_IN
        async with self._blow(f"stop the supervisor for {span:.1f} s", everybody):
            await frozen([self._supervisor], span)

    @asynccontextmanager
    async def _blow(
        self, name: str, spared: frozenset[str] | None = None, shown: str = ""
    ) -> AsyncIterator[None]:
        strike = Strike(name, time.monotonic(), spared=spared or frozenset(), shown=shown)
        self.strikes.append(strike)
        yield
        strike.healed = time.monotonic()

    def _span(self, least: float = 0.1, most: float = 10.0) -> float:
        """Draw a duration, a short one as likely as a long one."""
        return float(least * (most / least) ** self._chance.random())

    async def _victim(self) -> tuple[str, str, int]:
        """Choose a process of any role that serves: its role, its label, its number."""
        rows = [row for row in (await self._system.status())["rows"] if row["state"] == "ready"]
        row = self._chance.choice(rows)
        return row["role"], row["label"], row["pid"]

    @property
    def _supervisor(self) -> int:
        assert self._system.process is not None
        return self._system.process.pid

    async def _database(self) -> list[int]:
        """Return the postmaster and its processes, as soon as there are some."""
        while True:
            with suppress(OSError, StopIteration, ValueError, IndexError):  # it is being started
                file = next((self._system.data / "postgres").rglob("postmaster.pid"))
                pid = int(file.read_text().split()[0])
                under = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                if under:
                    return [pid, *map(int, under)]
            await asyncio.sleep(0.05)


async def frozen(pids: list[int], seconds: float) -> None:
    """Stop processes in their order, and let them go on in the other."""
    send(pids, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    send(reversed(pids), signal.SIGCONT)


def _held(pid: int, files: bool) -> int:
    """Return how many descriptors a process has, or how many bytes of memory."""
    if files:
        return len(os.listdir(f"/proc/{pid}/fd"))
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to processes, as far as they are there."""
    for pid in pids:
        assert pid > 1, "this would be everybody"
        with suppress(ProcessLookupError):
            os.kill(pid, number)
