"""Documents: JSON objects from strangers, read with nothing left to interpretation."""

import json
from typing import Any, NoReturn

import msgspec

__all__ = ["read_object"]


def read_object(data: bytes) -> dict[str, Any]:
    """Read one JSON object: UTF-8, no repeated names, no NaN, no lone surrogates.

    Two readers that take different ones of two equal names would see different tokens. Raises
    ValueError.
    """
    try:
        read = msgspec.json.decode(data)
        json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    if not isinstance(read, dict):
        raise ValueError("it is not an object")
    return read


def _once(pairs: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) < len(pairs):
        raise ValueError("a name is given more than once")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
