"""Crowds: values that were chosen so that a hash table takes each for all those before it.

Texts are hashed with a secret of the process. Numbers and UUIDs are not: a number's hash is what
remains of it modulo a known prime, and a UUID's that of its 128 bits. Of values with one hash, a
set or a table compares each with all the others: thirty thousand UUIDs, which are 1 MiB, take a
minute. So where a body is to be read into such a set or table, it is looked through before.

Source: S. Crosby, D. Wallach, "Denial of service via algorithmic complexity attacks", 2003.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Final, get_args, get_origin

import msgspec
from msgspec import inspect

from switchgear.binding.beneath import beneath
from switchgear.binding.shape import Array, Node, Table, bare, kinds_of
from switchgear.binding.wrong import invalid

__all__ = ["CROWD", "dispersed", "hashes_decimals", "hashes_numbers"]

_SETS: Final = (set, frozenset, AbstractSet)
_TEXTS: Final = (
    inspect.NoneType,
    inspect.BoolType,
    inspect.StrType,
    inspect.BytesType,
    inspect.EnumType,
    inspect.LiteralType,
)

CROWD: Final = 100  # values with one hash: as many are compared in no time, and none come by chance
_SHORT: Final = CROWD * 20  # bytes: no crowd has room in fewer
_UUID: Final = re.compile(rb'"(?:urn:uuid:|\{)?([0-9a-fA-F]{32})')  # without its hyphens
_NUMBER: Final = re.compile(rb"[0-9]{19,4000}")  # of fewer digits, a handful shares one hash
# What a decimal may be written with. An exponent has as few digits as one likes come to any hash.
_DECIMAL: Final = re.compile(rb"[0-9.\x80-\xff][0-9.e+\-\x80-\xff]{2,}", re.IGNORECASE)
# To look for them costs as much as to read a body; whether there are so many, a tenth of that.
_DIGITS: Final = bytes(48 if chr(one) in "0123456789" else 32 for one in range(256))
_HEX: Final = bytes(48 if chr(one) in "0123456789abcdefABCDEF" else 32 for one in range(256))


def hashes_numbers(root: Node) -> bool:
    """Say whether a set or table of a shape is built from what is hashed without a secret."""
    return any(not isinstance(kind, _TEXTS) for kind in _hashed(root))


def hashes_decimals(root: Node) -> bool:
    """Say whether one is built from decimals."""
    return any(isinstance(kind, inspect.DecimalType) for kind in _hashed(root))


def _hashed(root: Node) -> Iterator[inspect.Type]:
    """Yield the kinds of what the sets and tables of a shape are built from."""
    for node in beneath(root):
        if isinstance(node, Table):
            yield from kinds_of(inspect.type_info(node.key))
        elif isinstance(node, Array):
            stripped = bare(node.annotation)[0]
            if get_origin(stripped) in _SETS:
                yield from kinds_of(inspect.type_info(get_args(stripped)[0]))


def dispersed(body: bytes, subject: str, *, decimals: bool = False) -> None:
    """Let a body pass that holds no crowd: of UUIDs, of whole numbers, and of `decimals`.

    Raises `Fault` (invalid argument).
    """
    if len(body) < _SHORT:
        return
    if b"\\" in body:  # any character may be written as an escape
        try:
            body = msgspec.json.encode(msgspec.json.decode(body))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return  # which whoever reads it will tell
    many = False
    if body.translate(_HEX).count(b"0" * 8) > CROWD:
        many = _crowded(map(_uuid, set(_UUID.findall(body.replace(b"-", b"")))))
    # Who reads numbers from texts passes over underscores.
    if not many and body.translate(_DIGITS, b"_").count(b"0" * 19) > CROWD:
        many = _crowded(map(int, set(_NUMBER.findall(body.replace(b"_", b"")))))
    if not many and decimals:
        many = _crowded(map(_decimal, set(_DECIMAL.findall(body.replace(b"_", b"")))))
    if many:
        told = f"holds more than {CROWD} values that no table tells apart by their hashes"
        raise invalid([{"pointer": "", "detail": told}], subject)


def _uuid(text: bytes) -> int:
    return int(text, 16)


def _decimal(text: bytes) -> Decimal | bytes:
    """Read a decimal; what is none is itself, whose hash is secret."""
    try:
        return Decimal(text.decode())
    except (ArithmeticError, UnicodeError, ValueError):
        return text


def _crowded(values: Iterable[int | Decimal | bytes]) -> bool:
    """Say whether a crowd is among values that were written differently."""
    hashes = Counter(map(hash, values))
    return bool(hashes) and hashes.most_common(1)[0][1] > CROWD
