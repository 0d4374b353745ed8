"""Ports for servers that tests and benchmarks start."""

import contextlib
import secrets
import socket
from pathlib import Path
from typing import Final

__all__ = ["free_port"]

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LEAST, _MOST = 10_000, 32_768


def free_port() -> int:
    """Return a port of loopback that is free now.

    It is none of those that the system gives to whoever connects or binds without a wish: till its
    server starts, or starts again, somebody would have it.
    """
    first = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _MOST
    while True:
        port = secrets.choice(range(_LEAST, max(first, 2 * _LEAST)))
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
