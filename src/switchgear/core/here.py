"""Here: the place of the thread that asks.

It stands apart: a compiler of classes makes nothing of what is local to a thread.
"""

import threading
from typing import Final

from switchgear.core.place import Place

__all__ = ["HERE", "here"]


class _Here(threading.local):
    """Loops of several threads must not see each other's."""

    def __init__(self) -> None:
        self.place = Place()


HERE: Final = _Here()


def here() -> Place:
    """Return the place of the thread that asks."""
    return HERE.place
