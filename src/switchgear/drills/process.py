"""The processes of a drill: started, announced, paused, killed, and never left behind.

Each is a module with `python -m`; its first line on standard output is a JSON object that says
that it is ready, and where. It is started attached: it ends when its standard input does, and so
with its starter, however that one ends.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

import switchgear

__all__ = ["Census", "Process", "announce", "census", "until_told"]

_READY_WITHIN: Final = 20.0
_LEAVES_WITHIN: Final = 5.0
_SOURCE: Final = str(Path(switchgear.__file__).parents[1])


def announce(**facts: object) -> None:
    """Write one JSON line to standard output: what the starter waits for."""
    sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
    sys.stdout.flush()


async def until_told(*, attached: bool) -> None:
    """Wait for SIGTERM, SIGINT or, when attached, for the end of standard input."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if attached:
        loop.add_reader(sys.stdin.fileno(), _until_end, told)
    try:
        await told.wait()
    finally:
        if attached:
            loop.remove_reader(sys.stdin.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _until_end(told: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        told.set()


class Process:
    """A child of the drill: `python -m module`, or a script of the drill's own."""

    def __init__(self, child: asyncio.subprocess.Process, facts: Mapping[str, Any]) -> None:
        self._child = child
        self.facts = facts

    @classmethod
    async def start(cls, module: str, *arguments: str, attached: bool = True) -> "Process":
        """Start a module, or a file that ends in `.py`, and wait until it is ready.

        Raises RuntimeError when it ends or says nothing instead.
        """
        named = [module] if module.endswith(".py") else ["-m", module]
        path = os.pathsep.join(filter(None, [_SOURCE, os.environ.get("PYTHONPATH", "")]))
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *named,
            *arguments,
            *(["--attached"] if attached else []),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        process = cls(child, {})
        try:
            process.facts = await asyncio.wait_for(process.line(), _READY_WITHIN)
        except BaseException:
            await process.kill()
            raise
        return process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.returncode is None

    async def line(self) -> dict[str, Any]:
        """Return the next JSON line that it announces. Raises RuntimeError when it has ended."""
        if self._child.stdout is None:
            raise RuntimeError("the process was started without a pipe")
        line = await self._child.stdout.readline()
        if not line:
            code = await self._child.wait()
            raise RuntimeError(f"process {self.pid} ended with {code} before it said a word")
        facts: dict[str, Any] = msgspec.json.decode(line)
        return facts

    def signal(self, number: int) -> None:
        """Send it a signal, SIGSTOP and SIGCONT too; nothing happens when it has ended."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)

    async def stop(self) -> int:
        """Ask it to end, kill it when it does not, and return its exit code."""
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.ended(), _LEAVES_WITHIN)
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """Kill it and return its exit code."""
        self.signal(signal.SIGKILL)
        return await self.ended()

    async def ended(self) -> int:
        """End its standard input, as our death would; wait for it, and return its exit code."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        code = await self._child.wait()
        if self._child.stdout is not None:
            await self._child.stdout.read()  # to the end, so that its pipe is closed
        return code

    async def __aenter__(self) -> "Process":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


class Census(msgspec.Struct, frozen=True):
    """What a process holds: open descriptors, threads, resident memory."""

    descriptors: int
    threads: int
    resident_bytes: int


def census(pid: int) -> Census | None:
    """Count what a process holds, from /proc; None where there is no such process or no /proc."""
    home = Path("/proc") / str(pid)
    try:
        descriptors = len(os.listdir(home / "fd"))
        status = dict(line.split(":", 1) for line in (home / "status").read_text().splitlines())
    except OSError:
        return None
    if "VmRSS" not in status:
        return None  # a zombie
    return Census(
        descriptors=descriptors,
        threads=int(status["Threads"]),
        resident_bytes=int(status["VmRSS"].split()[0]) * 1024,
    )
