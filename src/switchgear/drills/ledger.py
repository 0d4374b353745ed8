"""The outside ledger: a witness in a process of its own, with an append-only file.

Clients send JSON lines over a unix socket or loopback TCP, `{"kind": "intent", "id": "7"}`, and
wait for nothing. `{"kind": "sync", "id": "x"}` is answered `{"synced": "x"}` once all that came
before it on this connection is on the disk. Lines are written in batches, one fsync each.

The ledger outlives its clients. Its own death makes a drill worthless: the drill sees its
process end, and its file is never opened twice.
"""

import argparse
import asyncio
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec

from switchgear.core.clock import FINE, Clock
from switchgear.drills.account import Entry, Kind
from switchgear.drills.address import Address, Listener
from switchgear.drills.process import announce, until_told

__all__ = ["LedgerServer", "Sync", "read"]

_FAREWELL = 0.2  # how long a closing ledger listens to clients that stay connected
_CLIENTS = frozenset(
    {Kind.INTENT, Kind.ACKNOWLEDGED, Kind.REFUSED, Kind.UNKNOWN, Kind.OBSERVED},
)


class Sync(msgspec.Struct, tag_field="kind", tag="sync"):
    """Ask whether everything before this line is on the disk."""

    id: str


class _Kinded(msgspec.Struct):
    kind: str


class LedgerServer:
    """Append what clients say to a new file, and answer syncs once it is safe there.

    Raises FileExistsError when the file exists: a ledger never goes on where another ended.
    """

    def __init__(self, address: Address, path: Path, clock: Clock = FINE) -> None:
        self._clock = clock
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._listener = Listener(address, self._accept)
        self._pending: list[bytes] = []
        self._syncs: list[tuple[asyncio.StreamWriter, str]] = []
        self._stir = asyncio.Event()
        self._sessions: set[asyncio.Task[None]] = set()
        self._writing: asyncio.Task[None] | None = None
        self._closing = False
        self.incarnation = secrets.token_hex(8)

    @property
    def address(self) -> Address:
        """Where it listens; the port is the real one."""
        return self._listener.address

    async def start(self) -> None:
        """Open the file with an entry of our own, and listen. Raises OSError."""
        self._note(Kind.OPENED, self.incarnation)
        self._writing = asyncio.create_task(self._write())
        await self._listener.open()

    async def until_broken(self) -> None:
        """Wait until the file takes no more (a full disk). Raises its OSError."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
            self._writing.result()

    async def close(self) -> None:
        """Take in what clients have sent, and close the file with an entry of our own.

        Raises the OSError of a file that took no more.
        """
        self._listener.close()
        if self._sessions:
            _, late = await asyncio.wait(self._sessions, timeout=_FAREWELL)
            for session in late:
                session.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._note(Kind.CLOSED, self.incarnation)
        self._closing = True
        try:
            if self._writing is not None:
                await self._writing
        finally:
            os.close(self._file)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.create_task(self._listen(reader, writer))
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self._take(line, writer)
        except (OSError, ValueError) as error:
            # A client that was killed is what drills are made of; a line beyond the limit is not.
            self._note(Kind.TORN if isinstance(error, OSError) else Kind.MALFORMED, str(error))
        finally:
            writer.close()

    def _take(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        if not line.endswith(b"\n"):
            self._note(Kind.TORN, line.decode(errors="replace"))
            return
        try:
            if msgspec.json.decode(line, type=_Kinded).kind == "sync":
                self._syncs.append((writer, msgspec.json.decode(line, type=Sync).id))
                self._stir.set()
                return
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.DecodeError:
            self._note(Kind.MALFORMED, line.decode(errors="replace"))
            return
        if entry.kind not in _CLIENTS:
            self._note(Kind.MALFORMED, line.decode(errors="replace"))
            return
        self._append(msgspec.structs.replace(entry, at=self._clock()))

    def _note(self, kind: Kind, text: str) -> None:
        self._append(Entry(kind, text, by="ledger", at=self._clock()))

    def _append(self, entry: Entry) -> None:
        self._pending.append(msgspec.json.encode(entry) + b"\n")
        self._stir.set()

    async def _write(self) -> None:
        while self._pending or self._syncs or not self._closing:
            await self._stir.wait()
            self._stir.clear()
            lines, self._pending = self._pending, []
            syncs, self._syncs = self._syncs, []
            # While a batch is on its way to the disk, the next one gathers.
            await asyncio.to_thread(_put, self._file, b"".join(lines))
            for writer, mark in syncs:
                if not writer.is_closing():
                    writer.write(msgspec.json.encode({"synced": mark}) + b"\n")


def _put(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.fsync(file)


def read(path: Path) -> Iterator[Entry]:
    """Read a ledger's file. A last line without its end (the ledger was killed) is left out."""
    decoder = msgspec.json.Decoder(Entry)
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield decoder.decode(line)


async def _serve(settings: argparse.Namespace) -> None:
    ledger = LedgerServer(settings.listen, settings.file)
    await ledger.start()
    announce(listening=str(ledger.address), file=str(settings.file), opened=ledger.incarnation)
    told = asyncio.create_task(until_told(attached=settings.attached))
    broken = asyncio.create_task(ledger.until_broken())
    await asyncio.wait({told, broken}, return_when=asyncio.FIRST_COMPLETED)
    for task in (told, broken):
        task.cancel()
    await asyncio.gather(told, broken, return_exceptions=True)
    await ledger.close()


def main() -> None:
    """Run a ledger as a process, until SIGTERM, SIGINT or the end of its starter."""
    parser = argparse.ArgumentParser(prog="python -m switchgear.drills.ledger")
    parser.add_argument("--listen", type=Address.parse, default=Address("127.0.0.1"))
    parser.add_argument("--file", type=Path, required=True, help="a file that does not exist yet")
    parser.add_argument("--attached", action="store_true", help="end when standard input ends")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
