"""Records: dataclasses, classes of attrs and TypedDicts, as the members that JSON has of them."""

import dataclasses
import sys
from typing import Any, NamedTuple, is_typeddict

__all__ = ["Member", "is_record", "members_of"]


class Member(NamedTuple):
    """One member: whether it must be there, and what stands in for it where it is not."""

    required: bool
    default: Any = None


def is_record(kind: type) -> bool:
    """Say whether a class is a dataclass, a class of attrs or a TypedDict."""
    return dataclasses.is_dataclass(kind) or is_typeddict(kind) or _attributes(kind) is not None


def members_of(kind: type, hints: dict[str, Any]) -> dict[str, Member]:
    """Return the members of a record by their names; `hints` are its annotations.

    Raises TypeError for a class of attrs that wants what is read converted: attrs alone does that.
    """
    if is_typeddict(kind):
        always: frozenset[str] = vars(kind)["__required_keys__"]
        return {name: Member(name in always) for name in hints}
    attributes = _attributes(kind)
    if attributes is not None:
        return _of_attrs(kind, attributes)
    missing = dataclasses.MISSING
    return {
        field.name: Member(
            field.default is missing and field.default_factory is missing, field.default
        )
        for field in dataclasses.fields(kind)
        if field.init
    }


def _attributes(kind: type) -> Any:
    """Return the attributes of a class of attrs, None for any other class."""
    return getattr(kind, "__attrs_attrs__", None) if "attr" in sys.modules else None


def _of_attrs(kind: type, attributes: Any) -> dict[str, Member]:
    nothing = sys.modules["attr"].NOTHING
    members = {}
    for one in attributes:
        if one.converter is not None:
            raise TypeError(
                f"`{kind.__name__}.{one.name}` has a converter, which attrs alone would call:"
                " convert it in the function"
            )
        if one.init and not one.name.startswith("_"):  # those are neither written nor asked for
            members[one.name] = Member(one.default is nothing, one.default)
    return members
