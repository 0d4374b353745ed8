"""Which apps are made while one is imported: of several, one alone is served."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Making", "gathered", "note"]

Making = tuple[Any, str]
"""An app, and the file and line where it was made."""

_gathering: list[list[Making]] = []  # of the imports that are under way: only then are they kept


@contextmanager
def gathered() -> Iterator[list[Making]]:
    """Keep the apps that are made within the block."""
    found: list[Making] = []
    _gathering.append(found)
    try:
        yield found
    finally:
        _gathering.pop()


def note(app: object, where: str) -> None:
    """Take note that an app was made."""
    for found in _gathering:
        found.append((app, where))
