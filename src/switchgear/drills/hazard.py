"""Hazards: what strikes a system in a drill, and proof that it did."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from switchgear.drills.control import Remote
from switchgear.drills.injection import Injection

__all__ = ["Frozen", "Hazard", "Injected", "Killed"]

Restart = Callable[[], Awaitable[None]]


class Hazard(Protocol):
    """Something that can strike and be healed, and that knows how often it really took place."""

    async def strike(self) -> None: ...

    async def heal(self) -> None: ...

    async def injected(self) -> int:
        """Return how many events took place since the strike; 0: the fault did not take."""
        ...


class Injected:
    """Faults of a proxy in another process."""

    def __init__(self, remote: Remote, *injections: Injection) -> None:
        self._remote = remote
        self._injections = injections
        self._before = 0
        self._numbers: list[int] = []

    async def strike(self) -> None:
        """Switch the injections on, on top of what is on already."""
        self._before = await self._remote.injected()
        self._numbers = [await self._remote.inject(injection) for injection in self._injections]

    async def heal(self) -> None:
        """Take back our own injections."""
        for number in self._numbers:
            await self._remote.heal(number)
        self._numbers = []

    async def injected(self) -> int:
        return await self._remote.injected() - self._before


class Killed:
    """A process killed with SIGKILL; `restart` is what heals it, unless something else does."""

    def __init__(self, pid: Callable[[], int], restart: Restart | None = None) -> None:
        self._pid = pid
        self._restart = restart
        self._victim = 0

    async def strike(self) -> None:
        """Kill the process that is there now. Raises ProcessLookupError when there is none."""
        self._victim = self._pid()
        os.kill(self._victim, signal.SIGKILL)

    async def heal(self) -> None:
        if self._restart is not None:
            await self._restart()

    async def injected(self) -> int:
        return int(self._victim != 0 and _state(self._victim) in {"", "Z", "X"})


class Frozen:
    """A process stopped with SIGSTOP: it holds its sockets and answers nothing."""

    def __init__(self, pid: Callable[[], int]) -> None:
        self._pid = pid
        self._victim = 0
        self._seen = 0

    async def strike(self) -> None:
        """Freeze the process that is there now. Raises ProcessLookupError when there is none."""
        self._victim = self._pid()
        os.kill(self._victim, signal.SIGSTOP)
        for _ in range(100):  # it stops at its next way out of the kernel
            if _state(self._victim) == "T":
                self._seen = 1
                return
            await asyncio.sleep(0.01)

    async def heal(self) -> None:
        """Let it go on, if it still lives."""
        if _state(self._victim):
            os.kill(self._victim, signal.SIGCONT)

    async def injected(self) -> int:
        return self._seen


def _state(pid: int) -> str:
    """Return the letter of a process's state, nothing when there is no such process."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return status.rpartition(")")[2].split()[0]
