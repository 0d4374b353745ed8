"""CPU per request of server processes, contenders alternating under the same load."""

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bench._harness.load import Asked, Seen, ask, warm_up
from bench._harness.pinning import cpus, pinned
from bench._harness.tree import used

__all__ = ["Contender", "Figures", "free_port", "measure", "running"]

_READY_WITHIN: Final = 20.0
_WARM_UP: Final = 0.3


@dataclass(frozen=True)
class Contender:
    """A server process. `{port}` in its command is where it is to listen."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


class Figures(NamedTuple):
    """Medians over the rounds; CPU in microseconds per request, latencies in seconds."""

    cpu: float
    rate: float
    p50: float
    p99: float
    errors: int
    resident_bytes: int


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(contender: Contender, cpu: int | None) -> Iterator[tuple[int, int]]:
    """Run a contender on one CPU; give its process id and port once it answers."""
    port = free_port()
    process = subprocess.Popen(
        [part.format(port=port) for part in contender.command],
        env={**os.environ, **contender.env, "PORT": str(port)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=pinned(cpu),  # noqa: PLW1509 - there is one thread
    )
    try:
        _await_ready(contender, process, port)
        yield process.pid, port
    finally:
        # Its session is its own: what it started goes with it.
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        except ProcessLookupError:
            process.wait()


def measure(
    contenders: Sequence[Contender],
    asked: Asked,
    *,
    rounds: int = 3,
    seconds: float = 2.0,
    connections: int = 64,
) -> dict[str, Figures]:
    """Load each contender in turn, round after round, and return its medians.

    All run throughout; whoever is not loaded is idle.
    """
    server_cpu, load_cpu = cpus()
    rows: dict[str, list[tuple[float, Seen, int]]] = {one.name: [] for one in contenders}
    with ExitStack() as stack:
        places = [(one, *stack.enter_context(running(one, server_cpu))) for one in contenders]
        for number in range(rounds):
            for one, pid, port in places:
                if number == 0:
                    _check(one, asked, port)
                    warm_up(asked, port, seconds=_WARM_UP, connections=connections, cpu=load_cpu)
                before = used(pid)
                seen = ask(asked, port, seconds=seconds, connections=connections, cpu=load_cpu)
                after = used(pid)
                rows[one.name].append((after.cpu - before.cpu, seen, after.resident_bytes))
    return {name: _figures(name, each) for name, each in rows.items()}


def _figures(name: str, rows: list[tuple[float, Seen, int]]) -> Figures:
    if any(not seen.requests for _, seen, _ in rows):
        raise RuntimeError(f"{name} answered nothing")
    return Figures(
        cpu=statistics.median(cpu / seen.requests for cpu, seen, _ in rows) * 1e6,
        rate=statistics.median(seen.requests / seen.seconds for _, seen, _ in rows),
        p50=statistics.median(seen.p50 for _, seen, _ in rows),
        p99=statistics.median(seen.p99 for _, seen, _ in rows),
        errors=sum(seen.errors for _, seen, _ in rows),
        resident_bytes=max(held for _, _, held in rows),
    )


def _check(contender: Contender, asked: Asked, port: int) -> None:
    """See one answer, so that no contender is measured at saying something else."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = {"Content-Type": "application/json"} if asked.body else {}
    connection.request(asked.method, asked.path, asked.body or None, headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200 or json.loads(body)["id"] != 7:
        raise RuntimeError(f"{contender.name} answered {answer.status}: {body[:200]!r}")


def _await_ready(contender: Contender, process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _READY_WITHIN
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{contender.name} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{contender.name} did not listen within {_READY_WITHIN:g} s")
