"""The pulse of a WebSocket: pings to a silent peer, and a limit to every goodbye."""

import asyncio
from math import inf
from typing import Protocol

from switchgear.core.clock import Clock
from switchgear.core.sweep import Sweep, sweep_of
from switchgear.http.settings import SocketSettings
from switchgear.http.watch import Watching

__all__ = ["Beating", "Pulse"]


class Beating(Protocol):
    """What a pulse keeps going."""

    @property
    def unread(self) -> bool:
        """Whether it is there for all we know, and we are behind: we would not hear its answer."""
        ...

    def ping(self) -> None: ...
    def silent(self) -> None:
        """Take note that the peer did not answer a ping."""
        ...

    def overdue(self) -> None:
        """Take note that the goodbye took too long."""
        ...


class Pulse(Watching):
    """Watches one socket."""

    __slots__ = ("_asked", "_clock", "_heard", "_settings", "_socket", "_until")

    def __init__(self, socket: Beating, settings: SocketSettings, clock: Clock) -> None:
        super().__init__()
        self._socket = socket
        self._settings = settings
        self._clock = clock
        self._heard = 0.0
        self._asked = 0.0  # when a ping that is not answered yet was sent
        self._until = inf  # the end of the goodbye

    def clockwork(self) -> tuple[Clock, Sweep]:
        """Return the clock, and the sweep of the running loop."""
        return self._clock, sweep_of(asyncio.get_running_loop(), self._clock)

    def heard(self) -> None:
        """Take note of bytes from the peer, the first time of the connection itself."""
        self._heard = self._clock()
        self._asked = 0.0
        self.watch(self._heard + self._settings.ping_every)

    def goodbye(self) -> None:
        """Give both sides a moment to end."""
        self._until = min(self._until, self._clock() + self._settings.close_timeout)
        self.watch(self._until)

    def look(self, now: float) -> float | None:
        """Enforce what is due at `now`; return when to look again, or None when it is over."""
        settings = self._settings
        if self._until < inf:
            if now < self._until:
                return self._until
            self._socket.overdue()
            return None
        if self._asked:
            due = self._asked + settings.pong_within
            if now < due:
                return due
            if not self._socket.unread:
                self._socket.silent()
                return None
        due = self._heard + settings.ping_every
        if now >= due:
            self._asked = now
            self._socket.ping()
            return now + settings.pong_within
        return due
