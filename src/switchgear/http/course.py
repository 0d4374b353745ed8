"""Courses: the two directions of a session that passes through, each followed in its turn.

The tiniest frames cost us far more than those who send them: two bytes, and half a microsecond. A
loop reads megabytes in one go from whoever sends quickly, and would stand for seconds. So a course
is looked at by so many frames in a turn, and its source is not read till it has caught up.
"""

import asyncio
from collections.abc import Callable

from switchgear.http.boundary import Boundary
from switchgear.http.corked import Corked

__all__ = ["Course"]


class Course:
    """What one side of a session sends. `caught_up` is called when all of it was looked at late.

    Its source is read while neither the other side is slow (`held`) nor we are behind.
    """

    __slots__ = ("_boundary", "_caught_up", "_due", "_over", "_source", "_stopped", "held")

    def __init__(self, source: Corked, caught_up: Callable[[], None], *, held: bool) -> None:
        self.held = held
        self._source = source
        self._caught_up = caught_up
        self._boundary = Boundary()
        self._due = False  # more is looked at in the next turn
        self._over = False
        self._stopped = False  # its source is not read
        self._read()

    @property
    def here(self) -> bool:
        """Whether no frame is under way."""
        return self._boundary.here

    @property
    def closed(self) -> bool:
        """Whether a close frame was the last."""
        return self._boundary.closed

    def take(self, data: bytes) -> None:
        """Follow these bytes, now or in the next turns."""
        if self._over:
            return
        self._boundary.take(data)
        if self._boundary.behind and not self._due:
            self._due = True
            self._read()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._due = False
        self.take(b"")
        if not self._due and not self._over:
            self._read()
            self._caught_up()

    def hold(self) -> None:
        """Read no more of it for now: the other side is slow."""
        self.held = True
        self._read()

    def let_go(self) -> None:
        """Read on: the other side has caught up."""
        self.held = False
        self._read()

    def end(self) -> None:
        """Follow it no further; what still comes is read for nobody."""
        self._over = True
        self._due = self.held = False
        self._read()

    def leave(self) -> None:
        """Follow it no further, and leave its source to somebody else."""
        self._over = True

    def _read(self) -> None:
        stop = self.held or self._due
        if stop == self._stopped or self._source.is_closing():
            return
        self._stopped = stop
        if stop:
            self._source.pause_reading()
        else:
            self._source.resume_reading()
