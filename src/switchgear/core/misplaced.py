"""Where a policy cannot work.

It stands apart: a compiler of classes makes none of RuntimeError.
"""

__all__ = ["Misplaced"]


class Misplaced(RuntimeError):  # noqa: N818 - it says what the caller is
    """A call from where this policy cannot work: it says nothing of the dependency."""
