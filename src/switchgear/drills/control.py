"""The control of a running proxy: JSON lines over a unix socket or loopback TCP.

```
{"do": "inject", "injection": {"kind": "delay", "seconds": 0.2}}   -> {"ok": true, "number": 1}
{"do": "heal", "number": 1}       (without a number: all)          -> {"ok": true}
{"do": "statistics"}                                               -> {"ok": true, "statistics": {}}
```

A line that cannot be carried out is answered `{"ok": false, "error": "a sentence"}`, and the
next one is read.
"""

import asyncio
from types import TracebackType
from typing import Any, Protocol

import msgspec

from switchgear.drills.address import Address, Listener, dial
from switchgear.drills.injection import Injection

__all__ = ["Control", "Refused", "Remote", "Target"]


class Target(Protocol):
    """What a control steers: a `Proxy`."""

    async def inject(self, injection: Injection) -> int: ...

    async def heal(self, number: int | None = None) -> None: ...

    def statistics(self) -> msgspec.Struct: ...


class _Inject(msgspec.Struct, tag_field="do", tag="inject", forbid_unknown_fields=True):
    injection: Injection


class _Heal(msgspec.Struct, tag_field="do", tag="heal", forbid_unknown_fields=True):
    number: int | None = None


class _Statistics(msgspec.Struct, tag_field="do", tag="statistics", forbid_unknown_fields=True):
    pass


_decoder = msgspec.json.Decoder(_Inject | _Heal | _Statistics)


class Refused(Exception):  # noqa: N818 - a situation of the control, not a defect
    """The control did not carry out a command; the message is its sentence."""


class Control:
    """Serve a target's control on `address`, which only this machine may reach."""

    def __init__(self, address: Address, target: Target) -> None:
        if not address.local:
            raise ValueError(f"a control listens on loopback or a unix socket, not on {address}")
        self._target = target
        self._listener = Listener(address, self._accept)
        self._sessions: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> Address:
        """Where it listens; the port is the real one."""
        return self._listener.address

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await self._listener.open()

    async def close(self) -> None:
        """Stop listening, and end the sessions."""
        self._listener.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.create_task(self._serve(reader, writer))
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            return  # the operator left, or sent a line beyond the limit: the session is over
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            command = _decoder.decode(line)
            if isinstance(command, _Inject):
                return {"ok": True, "number": await self._target.inject(command.injection)}
            if isinstance(command, _Heal):
                await self._target.heal(command.number)
                return {"ok": True}
        except KeyError as error:
            return {"ok": False, "error": f"there is no injection {error}"}
        except (msgspec.DecodeError, OSError) as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True, "statistics": self._target.statistics()}


class Remote:
    """Steer a proxy in another process through its control."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def inject(self, injection: Injection) -> int:
        """Add an injection and return its number. Raises Refused, OSError."""
        answer = await self._ask(_Inject(injection))
        return int(answer["number"])

    async def heal(self, number: int | None = None) -> None:
        """Take back one injection, or all. Raises Refused, OSError."""
        await self._ask(_Heal(number))

    async def statistics(self) -> dict[str, Any]:
        """Return the proxy's figures. Raises Refused, OSError."""
        answer = await self._ask(_Statistics())
        return dict(answer["statistics"])

    async def injected(self) -> int:
        """Return how many events have really taken place, of all kinds. Raises OSError."""
        return sum((await self.statistics())["injected"].values())

    async def close(self) -> None:
        """End the session."""
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None

    async def __aenter__(self) -> "Remote":
        self._stream = await dial(self._address)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(self, command: msgspec.Struct) -> dict[str, Any]:
        if self._stream is None:
            self._stream = await dial(self._address)
        reader, writer = self._stream
        writer.write(msgspec.json.encode(command) + b"\n")
        await writer.drain()
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError(f"the control at {self._address} left without an answer")
        answer: dict[str, Any] = msgspec.json.decode(line)
        if not answer["ok"]:
            raise Refused(answer["error"])
        return answer
