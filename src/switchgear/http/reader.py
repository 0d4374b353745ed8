"""The reader of field lines of the thread that asks.

It stands apart: a compiler of classes makes nothing of what is local to a thread.
"""

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from switchgear.http.fields import FieldReader

__all__ = ["READER"]


class _Reader(threading.local):
    """Loops of several threads must not read into each other's."""

    own: "FieldReader | None" = None


READER: Final = _Reader()
"""Its `own` is that of the thread that asks, once it has read anything."""
