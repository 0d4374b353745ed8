"""One started role process: its line, its output, its dump file, and its death."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from switchgear.assembly.failures import ended
from switchgear.assembly.kernel import DUMP_SIGNAL
from switchgear.assembly.line import Line
from switchgear.assembly.messages import Upward
from switchgear.assembly.output import OutputReader
from switchgear.assembly.spawn import Spawned, end_group, read_dump, reap, wipe_dump
from switchgear.assembly.stacks import fatal

__all__ = ["Death", "Process"]

_LOOK = 0.05


class Death(NamedTuple):
    """How a process ended, and the stacks that it wrote if a fatal signal struck it."""

    how: str
    stacks: str


class Process:
    """A process from its spawn to its death. `take` gets what it says, `hear` what it prints."""

    def __init__(
        self,
        spawned: Spawned,
        take: Callable[[Upward], None],
        hear: Callable[[str], None],
        patience: float,
    ) -> None:
        self.pid = spawned.process.pid
        self.dead = False
        self._spawned = spawned
        self._patience = patience
        self._condemned = False
        self._line: Line[Upward] = Line(Upward, take, on_lost=self._lost)
        self._tasks: set[asyncio.Task[None]] = set()
        self._go(self._line.open(spawned.line))
        self._output = None
        if spawned.output is not None:
            self._output = OutputReader(spawned.output, hear)

    def put(self, message: Any) -> None:
        """Send a message that tells a state."""
        self._line.put(message)

    def terminate(self) -> None:
        """Ask a process to end that is still importing and does not read its line."""
        if not self.dead:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it now, with all that it started."""
        if not self.dead:
            end_group(self._spawned.process)

    def describe(self, tell: Callable[[str], None]) -> None:
        """Let a silent process write its stacks, and tell them if it can: one that stands still."""
        if not self._condemned:
            self._go(self._describe(tell))

    def put_down(self, tell: Callable[[str], None]) -> None:
        """Let a hung process write its stacks, tell them, and kill it. Once."""
        if not self._condemned:
            self._condemned = True
            self._go(self._put_down(tell))

    def reap(self) -> Death | None:
        """Return how it ended, and let go of what belonged to it; None while it lives."""
        code = None if self.dead else reap(self._spawned.process)
        if code is None:
            return None
        self._line.finish(self._spawned.line)
        self.dead = True
        if self._output is not None:
            self._output.close()
        stacks = "" if self._condemned else fatal(read_dump(self._spawned.dump))
        os.close(self._spawned.dump)
        return Death(ended(code), stacks)

    def _lost(self) -> None:
        """End a process that closed its line and lives on: nobody can talk to it any more."""
        if not self.dead:
            self._go(self._expect_end())

    async def _expect_end(self) -> None:
        await asyncio.sleep(self._patience)
        self.kill()

    async def _describe(self, tell: Callable[[str], None]) -> None:
        stacks = await self._stacks()
        if stacks and not self._condemned:
            tell(stacks)

    async def _put_down(self, tell: Callable[[str], None]) -> None:
        # A stopped process cannot write its stacks; it is killed when the patience ends.
        stacks = await self._stacks()
        if stacks is not None:
            tell(stacks)
            self.kill()

    async def _stacks(self) -> str | None:
        """Return the stacks that it writes when asked, or nothing in time; None if it has died."""
        wipe_dump(self._spawned.dump)  # of what it wrote when it was asked before, and was slow
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, DUMP_SIGNAL)
        size, left = 0, self._patience
        while left > 0:
            await asyncio.sleep(min(left, _LOOK))
            left -= _LOOK
            if self.dead:
                return None
            before, size = size, os.fstat(self._spawned.dump).st_size
            if size and size == before:
                break
        return read_dump(self._spawned.dump)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
