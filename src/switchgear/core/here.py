"""Here: the place of the thread that asks.

It stands apart: a compiler of classes makes nothing of what is local to a thread.
"""

import threading
from typing import Final

from switchgear.core.place import Place

__all__ = ["HERE"]


class _Here(threading.local):
    """Loops of several threads must not see each other's."""

    def __init__(self) -> None:
        self.place = Place()


HERE: Final = _Here()
"""Its `place` is that of the thread that asks."""
