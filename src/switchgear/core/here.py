"""Here: the place of the thread that asks.

It stands apart: a compiler of classes makes nothing of what is local to a thread.
"""

import os
import threading
from typing import Final

from switchgear.core.place import Latest, Place

__all__ = ["HERE", "LATEST"]

LATEST: Final = Latest(Place(-1))
"""To look up what is local to a thread costs 0.1 us: who finds its own number there need not."""


class _Here(threading.local):
    """Loops of several threads must not see each other's."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin a place: the thread's first one, or that of a process which was forked off."""
        # Numbers come again: this thread may have that of one which has ended, whose place it was.
        self.place = LATEST.place = Place(threading.get_ident())


HERE: Final = _Here()
"""Its `place` is that of the thread that asks."""


def _forked() -> None:
    HERE.place.thread = -1
    HERE.begin()


os.register_at_fork(after_in_child=_forked)
