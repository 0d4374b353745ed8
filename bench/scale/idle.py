"""Idle keep-alive connections: a process that opens them, asks once on each, and holds them."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench._harness.pinning import cpus, pinned

__all__ = ["held_open"]

_AT_ONCE: Final = 50


@contextmanager
def held_open(port: int, count: int, path: str, headers: Mapping[str, str]) -> Iterator[None]:
    """Hold so many connections open, each of which had an answer. Raises RuntimeError."""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    command = [sys.executable, str(Path(__file__)), str(port), str(count), head]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        preexec_fn=pinned(cpus()[1]),  # noqa: PLW1509 - there is one thread
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline().strip()
        if said != "held":
            raise RuntimeError(f"{count} connections could not be held open: {said}")
        yield
    finally:
        process.communicate()


def main() -> None:
    port, count, head = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    held: list[socket.socket] = []
    while len(held) < count:
        fresh = [
            socket.create_connection(("127.0.0.1", port), 30)
            for _ in range(min(_AT_ONCE, count - len(held)))
        ]
        for one in fresh:
            one.sendall(f"{head}\r\n".encode())
        for one in fresh:
            answer = one.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200 "):
                print(f"after {len(held)}: {answer[:100]!r}", flush=True)
                return
        held += fresh
    print("held", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
