"""What holds for the settings of every machine."""

from typing import Any

import msgspec
import pytest

__all__ = ["accepts", "refuses", "stays"]


def accepts(kind: type[msgspec.Struct], **right: Any) -> None:
    """See that a value is allowed, and kept as it is."""
    made = kind(**right)
    for field, value in right.items():
        assert getattr(made, field) == value


def refuses(kind: type[msgspec.Struct], **wrong: Any) -> None:
    """See that the first value is refused, in words that say what, where, and what is right."""
    field = next(iter(wrong))
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.{field} is .*would be right"):
        kind(**wrong)


def stays(made: msgspec.Struct) -> None:
    """See that nothing can be set once it was made: one settings value serves many machines."""
    for field in made.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(made, field, getattr(made, field))
