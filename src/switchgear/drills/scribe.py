"""The clients' end of the ledger: say it, and go on."""

import socket
from types import TracebackType
from typing import Final

import msgspec

from switchgear.drills.account import Entry, Kind
from switchgear.drills.address import Address
from switchgear.drills.ledger import Sync

__all__ = ["Scribe"]

_PATIENCE: Final = 5.0


class Scribe:
    """Record to a ledger over a blocking socket, from any kind of code.

    Each line is handed to the kernel before the call returns, so that it survives the death of
    this process one instruction later; that costs some microseconds, also on an event loop. A
    ledger that takes nothing for 5 s raises TimeoutError: a drill without its witness is over.
    """

    def __init__(self, address: Address, by: str = "") -> None:
        self._by = by
        self._syncs = 0
        self._rest = b""
        self._socket = _connected(address)

    def intent(self, name: str, mark: str = "") -> None:
        """Say that this is about to be asked for. Before it is sent, or it may be unintended."""
        self._say(Entry(Kind.INTENT, name, mark, self._by))

    def acknowledged(self, name: str) -> None:
        """Say that the system answered: done."""
        self._say(Entry(Kind.ACKNOWLEDGED, name, "", self._by))

    def refused(self, name: str) -> None:
        """Say that the system answered: not done, and never will be."""
        self._say(Entry(Kind.REFUSED, name, "", self._by))

    def unknown(self, name: str) -> None:
        """Say that no answer came, or one that leaves it open."""
        self._say(Entry(Kind.UNKNOWN, name, "", self._by))

    def observed(self, name: str, mark: str = "") -> None:
        """Say that the effect was seen, once for each time that it was."""
        self._say(Entry(Kind.OBSERVED, name, mark, self._by))

    def sync(self) -> None:
        """Wait until all that was said here is on the ledger's disk. Raises OSError."""
        self._syncs += 1
        self._say(Sync(str(self._syncs)))
        while b"\n" not in self._rest:
            if not (data := self._socket.recv(4096)):
                raise ConnectionResetError("the ledger is gone")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        if msgspec.json.decode(line) != {"synced": str(self._syncs)}:
            raise ConnectionResetError(f"the ledger answered {line!r} to sync {self._syncs}")

    def close(self) -> None:
        """Leave; what was said stays said."""
        self._socket.close()

    def __enter__(self) -> "Scribe":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _say(self, line: Entry | Sync) -> None:
        self._socket.sendall(msgspec.json.encode(line) + b"\n")


def _connected(address: Address) -> socket.socket:
    if not address.path:
        stream = socket.create_connection((address.host, address.port), _PATIENCE)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.settimeout(_PATIENCE)
        stream.connect(address.path)
    except OSError:
        stream.close()
        raise
    return stream
