"""One alarm for every deadline of a connection.

Arming one per deadline would cost more than the deadlines are worth: nearly all of them are
disarmed again. The alarm rings at the earliest that could be due, its owner looks at the
clock, does what is due, and says when to look again.
"""

import select
import sys
from fcntl import ioctl
from math import inf
from termios import TIOCOUTQ
from typing import Any, Final, Protocol

from switchgear.core.clock import Clock
from switchgear.core.sweep import Alarm, Sweep

__all__ = ["LOOKS", "Told", "Watching", "gone", "readable", "untaken"]

LOOKS: Final = 32  # within the time that a peer has for taking something

_NONE: Final = bytes(4)


class Told(Protocol):
    """A transport, corked or not."""

    def get_extra_info(self, name: str, /) -> Any: ...

    def get_write_buffer_size(self) -> int: ...


class Watching:
    """A mixin: `watch` has `look` called at an instant or before; `look` returns the next one."""

    __slots__ = ("_alarm", "_due")

    def __init__(self) -> None:
        self._alarm: set[Alarm] | None = None
        self._due = inf

    def clockwork(self) -> tuple[Clock, Sweep]:
        """Return the clock, and the sweep that rings by it."""
        raise NotImplementedError

    def look(self, now: float) -> float | None:
        """Do what is due at `now`; return when to look again, or None for never."""
        raise NotImplementedError

    def watch(self, at: float) -> None:
        """Have the alarm ring at `at`, or earlier."""
        if at < self._due:
            self.unwatch()
            self._due = at
            self._alarm = self.clockwork()[1].arm(at, self)

    def unwatch(self) -> None:
        """Disarm the alarm."""
        alarm, self._alarm = self._alarm, None
        self._due = inf
        if alarm is not None:
            alarm.discard(self)

    def ring(self) -> None:
        """Look, and arm for the next look."""
        self._alarm, self._due = None, inf
        due = self.look(self.clockwork()[0]())
        if due is not None:
            self.watch(due)


def readable(transport: Told) -> bool:
    """Say whether bytes, or an end, wait in the kernel where the loop has not seen them yet."""
    return _polled(transport, select.POLLIN)


def gone(transport: Told) -> bool:
    """Say whether the peer has reset the connection, or closed both halves of it."""
    return _polled(transport, 0)  # which is told without being asked for


def untaken(transport: Told) -> int:
    """Return how many bytes the peer has not acknowledged: those that the kernel holds, and ours.

    By ours alone, who reads slowly would seem to take nothing: the kernel asks for more only when a
    third of what it may hold is free, and that may be megabytes. Source: tcp(7), SIOCOUTQ.
    """
    size = transport.get_write_buffer_size()
    raw = transport.get_extra_info("socket")
    if raw is None or raw.fileno() < 0:
        return size
    try:
        return size + int.from_bytes(ioctl(raw.fileno(), TIOCOUTQ, _NONE), sys.byteorder)
    except OSError:  # this kind of socket does not tell
        return size


def _polled(transport: Told, events: int) -> bool:
    raw = transport.get_extra_info("socket")
    if raw is None or raw.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(raw.fileno(), events)
    return bool(poll.poll(0))
