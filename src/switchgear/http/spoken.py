"""What speaks on a transport, which asyncio takes for its Protocol by these methods.

None of ours inherits that: it would add nothing, and what is compiled inherits only from its own.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

__all__ = ["Speaker", "connected", "speak"]

Spoken = TypeVar("Spoken")


class Speaker(Protocol):
    """Whom a transport tells what comes, and how well what is sent goes off."""

    def data_received(self, data: bytes, /) -> None: ...
    def eof_received(self) -> bool: ...
    def connection_lost(self, exc: Exception | None, /) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class Speakable(Protocol):
    """A transport, corked or not."""

    def set_protocol(self, protocol: asyncio.BaseProtocol, /) -> None: ...


def speak(transport: Speakable, speaker: Speaker) -> None:
    """Have `speaker` be told, from now on, what comes."""
    transport.set_protocol(cast("asyncio.Protocol", speaker))


async def connected(
    connect: Callable[..., Any], make: Callable[[], Spoken], /, *args: Any, **kwargs: Any
) -> Spoken:
    """Await one of a loop's ways to connect, and return the speaker that was made for it."""
    made: Spoken = (await connect(make, *args, **kwargs))[1]
    return made
