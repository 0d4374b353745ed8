"""Rows as typed values: by column names for structures, by the first column for the rest."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, get_origin

import asyncpg
import msgspec

from switchgear.binding.models import is_model, model_reader
from switchgear.binding.records import is_record

__all__ = ["reader"]

T = TypeVar("T")


def reader(kind: type[T]) -> Callable[[asyncpg.Record], T]:
    """Return what makes a `kind` of a row.

    A value that does not fit raises msgspec.ValidationError (of a model, pydantic's): the statement
    and the type disagree, which is a defect and no fault of the caller. Raises TypeError for what
    is no type.
    """
    key: Any = kind  # typeshed knows no generic type as hashable
    return _reader(key)


@lru_cache(maxsize=1024)
def _reader(kind: Any) -> Callable[[asyncpg.Record], Any]:
    if isinstance(kind, str):  # the statement, as drivers have it
        raise TypeError(
            "the type of a row comes first, as in fetch_one(User, 'select ...'), where"
            f" {kind[:60]!r} stands"
        )
    if is_model(kind):
        read = model_reader(kind)
        return lambda row: read(dict(row))
    plain = get_origin(kind) or kind
    if not isinstance(plain, type):
        return lambda row: msgspec.convert(row[0], kind)
    if issubclass(plain, msgspec.Struct):
        return _of_struct(kind, plain)
    if plain is dict or is_record(plain):
        return lambda row: msgspec.convert(dict(row), kind)
    return lambda row: msgspec.convert(row[0], kind)


def _of_struct(kind: Any, plain: type[msgspec.Struct]) -> Callable[[asyncpg.Record], Any]:
    """Read by the names that fields have in Python: what they are called in JSON is the client's.

    A column that is called as in JSON is found, too.
    """
    names = zip(plain.__struct_fields__, plain.__struct_encode_fields__, strict=True)
    called = {name: encoded for name, encoded in names if name != encoded}
    if not called:
        return lambda row: msgspec.convert(dict(row), kind)
    return lambda row: msgspec.convert(
        {called.get(name, name): value for name, value in row.items()}, kind
    )
