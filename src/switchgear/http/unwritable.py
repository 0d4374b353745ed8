"""Headers that cannot be sent.

It stands apart: a compiler of classes makes none of ValueError.
"""

__all__ = ["UnwritableError"]


class UnwritableError(ValueError):
    """A header has a name or a value that would break out of its line, or out of its alphabet."""
