"""Sips: of connections that bring long answers, heads are read by themselves.

A loop reads as much as there is. Of a long answer that is the head and 256 KiB of the body, copied
three times before they have left, where the kernel could have moved them like all the rest. So once
a connection has brought a long answer, no more is read with a head than heads have.
"""

import asyncio
from typing import Any, Final, Protocol

from switchgear.core.per_loop import PerLoop

__all__ = ["Sipper", "Sips", "sips"]

_LITTLE: Final = 16 << 10  # answers that are no longer come as a whole, as ever
_MUCH: Final = 256 << 10


class Sipper(Protocol):
    """A protocol that says how much it is to be given at a time."""

    @property
    def sips(self) -> bool:
        """Whether it is for little."""
        ...


class _Cup:
    """Where the connections of one loop read, each for the moment: whole, or a little of it."""

    __slots__ = ("little", "much", "works")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.works = type(loop).__module__.startswith("uvloop")
        self.much = memoryview(bytearray(_MUCH if self.works else 0))
        self.little = self.much[:_LITTLE]


_cups: Final[PerLoop[_Cup]] = PerLoop(_Cup)


class Sips:
    """Stands between a transport and its protocol, and has it read what the protocol wants.

    `protocol` may be another at any time; one that is no `sipper` gets as much as there is.
    """

    __slots__ = ("_cup", "protocol", "sipper")

    def __init__(self, sipper: Sipper, cup: _Cup) -> None:
        self._cup = cup
        self.protocol: Any = sipper
        self.sipper: Sipper | None = sipper

    def get_buffer(self, _: int) -> memoryview:
        """Return where to read."""
        sipper = self.sipper
        return self._cup.little if sipper is not None and sipper.sips else self._cup.much

    def buffer_updated(self, size: int) -> None:
        """Hand on what was read."""
        self.protocol.data_received(bytes(self._cup.much[:size]))

    def eof_received(self) -> bool:
        """Hand on the end."""
        return bool(self.protocol.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on the loss."""
        self.protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Hand it on."""
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        """Hand it on."""
        self.protocol.resume_writing()


def sips(sipper: Sipper, loop: asyncio.AbstractEventLoop) -> Sips | None:
    """Return what has a loop read for a protocol as it likes, or None where it would not."""
    cup = _cups.of(loop)
    return Sips(sipper, cup) if cup.works else None
