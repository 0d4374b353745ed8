"""Shared keys: secrets that our own processes hold in common."""

from collections.abc import Mapping
from typing import Final

import msgspec

__all__ = ["SharedKeys"]

_SHORTEST: Final = 32


class SharedKeys(msgspec.Struct, frozen=True):
    """Secret keys by id, each of at least 32 bytes: `current` writes, all read, so they rotate."""

    keys: Mapping[str, bytes]
    current: str

    def __post_init__(self) -> None:
        if self.current not in self.keys:
            known = ", ".join(self.keys) or "none"
            raise ValueError(f"there is no shared key {self.current!r} among {known}")
        for name, key in self.keys.items():
            if len(key) < _SHORTEST:
                raise ValueError(
                    f"shared key {name!r} has {len(key)} bytes; at least {_SHORTEST} serve"
                )
            if not name.isascii() or not name.isalnum():
                raise ValueError(f"a key's id is of ASCII letters and digits, not {name!r}")

    def __repr__(self) -> str:
        return f"SharedKeys({', '.join(self.keys)}; current {self.current})"
