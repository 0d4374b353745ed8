"""Crowds: values that were chosen so that a hash table takes each for all those before it.

Texts are hashed with a secret of the process. Numbers and UUIDs are not: a number's hash is what
remains of it modulo a known prime, and a UUID's that of its 128 bits. Of values with one hash, a
set or a table compares each with all the others: thirty thousand UUIDs, which are 1 MiB, take a
minute. So where a body is to be read into such a set or table, it is looked through before.

Source: S. Crosby, D. Wallach, "Denial of service via algorithmic complexity attacks", 2003.
"""

import re
from collections import Counter
from collections.abc import Set as AbstractSet
from typing import Final, get_args, get_origin

import msgspec
from msgspec import inspect

from switchgear.binding.beneath import beneath
from switchgear.binding.shape import Array, Node, Table, bare, kinds_of
from switchgear.binding.wrong import invalid

__all__ = ["CROWD", "dispersed", "hashes_numbers"]

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
# To look for them costs as much as to read a body; whether there are so many, a tenth of that.
_DIGITS: Final = bytes(48 if chr(one) in "0123456789" else 32 for one in range(256))
_HEX: Final = bytes(48 if chr(one) in "0123456789abcdefABCDEF" else 32 for one in range(256))


def hashes_numbers(root: Node) -> bool:
    """Say whether a set or table of a shape is built from what is hashed without a secret."""
    return any(isinstance(node, Array | Table) and not _salted(node) for node in beneath(root))


def _salted(node: Array | Table) -> bool:
    """Say whether nothing is hashed for it but texts, and what is one of a few."""
    if isinstance(node, Table):
        hashed = node.key
    else:
        stripped = bare(node.annotation)[0]
        if get_origin(stripped) not in _SETS:
            return True
        hashed = get_args(stripped)[0]
    return all(isinstance(kind, _TEXTS) for kind in kinds_of(inspect.type_info(hashed)))


def dispersed(body: bytes, subject: str) -> None:
    """Let a body pass that holds no crowd. Raises `Fault` (invalid argument)."""
    if len(body) < _SHORT:
        return
    if b"\\" in body:  # any character may be written as an escape
        try:
            body = msgspec.json.encode(msgspec.json.decode(body))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return  # which whoever reads it will tell
    many = False
    if body.translate(_HEX).count(b"0" * 8) > CROWD:
        many = _crowded(_UUID.findall(body.replace(b"-", b"")), 16)
    if not many and body.translate(_DIGITS).count(b"0" * 19) > CROWD:
        many = _crowded(_NUMBER.findall(body), 10)
    if many:
        told = f"holds more than {CROWD} values that no table tells apart by their hashes"
        raise invalid([{"pointer": "", "detail": told}], subject)


def _crowded(found: list[bytes], base: int) -> bool:
    distinct = set(found)  # as bytes, whose hashes are secret
    if len(distinct) <= CROWD:
        return False
    hashes = Counter(hash(int(text, base)) for text in distinct)
    return hashes.most_common(1)[0][1] > CROWD
