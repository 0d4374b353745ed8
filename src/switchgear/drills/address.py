"""Addresses of stream sockets, and a listener that can stop listening without losing its port."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

import msgspec

__all__ = ["CHUNK_BYTES", "Accept", "Address", "Listener", "dial"]

CHUNK_BYTES = 16 * 1024

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


class Address(msgspec.Struct, frozen=True):
    """A TCP host and port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `host:port`, `[v6]:port` or `unix:/path`.

        Raises ValueError with a sentence for anything else.
        """
        if text.startswith("unix:") and len(text) > len("unix:"):
            return cls(path=text.removeprefix("unix:"))
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isascii() or not port.isdigit():
            raise ValueError(f"{text!r} is neither host:port nor unix:/path")
        if int(port) > 65535:
            raise ValueError(f"{text!r} has a port above 65535")
        return cls(host=host, port=int(port))

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return bool(self.path) or self.host in {"127.0.0.1", "::1", "localhost"}

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def dial(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream to `address`. Raises OSError."""
    if address.path:
        return await asyncio.open_unix_connection(address.path, limit=CHUNK_BYTES)
    return await asyncio.open_connection(address.host, address.port, limit=CHUNK_BYTES)


class Listener:
    """A listening socket that can be closed (connections are refused) and opened again.

    A TCP port is held by a second socket that is bound but never listens: while ours is closed,
    the kernel refuses connections, and no other process can be given the port.
    """

    def __init__(self, address: Address, accept: Accept) -> None:
        self.address = address
        self._accept = accept
        self._server: asyncio.Server | None = None
        self._holder: socket.socket | None = None
        if not address.path:
            self._holder = self._bound()
            self.address = Address(host=address.host, port=self._holder.getsockname()[1])

    async def open(self) -> None:
        """Listen; nothing happens when it listens already. Raises OSError."""
        if self._server is not None:
            return
        if self.address.path:
            self._server = await asyncio.start_unix_server(
                self._accept, self.address.path, limit=CHUNK_BYTES
            )
            os.chmod(self.address.path, 0o600)
        else:
            self._server = await asyncio.start_server(
                self._accept, sock=self._bound(), limit=CHUNK_BYTES
            )

    def shut(self) -> None:
        """Stop listening: a connection is refused from now on. Accepted ones live on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Stop listening for good, and give up the port or path."""
        self.shut()
        if self._holder is not None:
            self._holder.close()
        elif self.address.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.address.path)

    def _bound(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.address.host else socket.AF_INET
        # Named as TCP, else asyncio leaves Nagle's algorithm on: 40 ms on small answers.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self.address.host, self.address.port))
        except OSError:
            bound.close()
            raise
        return bound
