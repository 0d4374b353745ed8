"""Seals: short texts that our own processes hand to each other where others could write, too.

A seal proves that one of ours wrote the text, for one purpose, within the last seconds. It hides
nothing. It binds the text to no request: where that matters, say so in the text.

Source: RFC 2104 (HMAC).
"""

from hmac import compare_digest, digest
from typing import Final

from switchgear.identity.shared import SharedKeys

__all__ = ["Seals"]

_LONGEST: Final = 30.0
_SKEW: Final = 2.0
_READ: Final = 16 << 10  # characters that are looked at


class Seals:
    """Seals texts for one `purpose`, and opens what was sealed for it, with shared keys.

    A seal for one purpose opens for no other. It is good for `lifetime` seconds. Times are
    wall-clock seconds since 1970, for a cluster's machines share no other clock.
    """

    __slots__ = ("_keys", "_lifetime", "_purpose", "_writes")

    def __init__(self, keys: SharedKeys, purpose: str, lifetime: float = _LONGEST) -> None:
        if not 0 < lifetime <= _LONGEST:
            raise ValueError(f"a seal lives up to {_LONGEST:.0f} s, not {lifetime}")
        self._keys = dict(keys.keys)
        self._writes = keys.current
        self._purpose = purpose
        self._lifetime = lifetime

    def seal(self, text: str, now: float) -> str:
        """Seal a text: `key id.end.seal.text`. Raises ValueError for one that is not ASCII."""
        if not text.isascii():
            raise ValueError("only ASCII is sealed")
        until = str(int((now + self._lifetime) * 1000))
        return f"{self._writes}.{until}.{self._mark(self._writes, until, text)}.{text}"

    def unseal(self, sealed: str, now: float) -> str | None:
        """Return the text if one of ours sealed it for this purpose just now. Never fails."""
        if len(sealed) > _READ or not sealed.isascii():
            return None
        name, _, rest = sealed.partition(".")
        until, _, rest = rest.partition(".")
        mark, _, text = rest.partition(".")
        if name not in self._keys or not compare_digest(self._mark(name, until, text), mark):
            return None
        # From here on it is our own writing.
        left = int(until) / 1000 - now
        return text if 0 < left <= _LONGEST + _SKEW else None

    def _mark(self, name: str, until: str, text: str) -> str:
        words = f"switchgear seal 1\0{self._purpose}\0{name}\0{until}\0{text}"
        return digest(self._keys[name], words.encode("ascii"), "sha256").hex()
