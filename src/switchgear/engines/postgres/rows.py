"""Rows as typed values: by column names for structures, by the first column for the rest."""

import dataclasses
import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, get_origin, is_typeddict

import asyncpg
import msgspec

__all__ = ["reader"]

T = TypeVar("T")


def reader(kind: type[T]) -> Callable[[asyncpg.Record], T]:
    """Return what makes a `kind` of a row.

    A value that does not fit raises msgspec.ValidationError: the statement and the type
    disagree, which is a defect and no fault of the caller.
    """
    key: Any = kind  # typeshed knows no generic type as hashable
    return _reader(key)


@lru_cache(maxsize=1024)
def _reader(kind: Any) -> Callable[[asyncpg.Record], Any]:
    if _by_name(get_origin(kind) or kind):
        return lambda row: msgspec.convert(dict(row), kind)
    return lambda row: msgspec.convert(row[0], kind)


def _by_name(kind: Any) -> bool:
    if kind is dict or is_typeddict(kind) or dataclasses.is_dataclass(kind):
        return True
    return inspect.isclass(kind) and issubclass(kind, msgspec.Struct)
