"""Internal tokens: a gateway's word for one request, to one service, for at most 30 seconds.

A service does not ask who is calling; it asks whether one of our gateways says so. The token
binds the principal to the service, method, path and request id by a keyed hash, so that it
serves no other request. The parts it vouches for are not repeated in it: the
service puts its own view of the request in their place, and the hashes agree or not.

Source: RFC 7693 (BLAKE2, keyed).
"""

from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

import msgspec

from switchgear.identity.shared import SharedKeys
from switchgear.identity.vouched import Vouched
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["InternalTokens", "Vouched", "minting"]

_PURPOSE: Final = b"switchgear int 1"  # nothing else that this key seals serves as a seal here
_LONGEST: Final = 30.0
_SKEW: Final = 2.0
_TOKEN_LENGTH: Final = 8192
_MEMORY: Final = 4096
_SEAL: Final = 32  # bytes


class InternalTokens:
    """Mints and verifies internal tokens with shared keys.

    Times are wall-clock seconds since 1970, for a cluster's machines share no other clock.
    """

    __slots__ = ("_current", "_decode", "_encode", "_id", "_keys", "_lifetime", "_read", "_written")

    def __init__(self, keys: SharedKeys, lifetime: float = _LONGEST) -> None:
        if not 0 < lifetime <= _LONGEST:
            raise ValueError(f"an internal token lives up to {_LONGEST:.0f} s, not {lifetime}")
        self._keys = {name: _Sealer(key) for name, key in keys.keys.items()}
        self._id = keys.current
        self._current = self._keys[keys.current]
        self._lifetime = lifetime
        self._written: dict[int, tuple[Vouched, str]] = {}  # by identity: to compare costs more
        self._read: dict[str, Vouched] = {}
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Vouched).decode

    def mint(
        self, vouched: Vouched, service: str, method: str, path: str, request_id: str, now: float
    ) -> str:
        """Mint the token of one request."""
        written = self._written.get(id(vouched))
        if written is None:
            what = b2a_base64(self._encode(vouched), newline=False).decode()
            if len(self._written) >= _MEMORY:
                self._written.clear()
            self._written[id(vouched)] = written = (vouched, what)
        what = written[1]
        until = int((now + self._lifetime) * 1000)
        stem = f"{self._id}.{until}.{what}"
        return f"{stem}.{self._current.seal(stem, service, method, path, request_id)}"

    def verify(
        self, token: str, service: str, method: str, path: str, request_id: str, now: float
    ) -> Vouched:
        """Return what the token vouches for, if it does so for this very request.

        Raises `Fault` (unauthenticated).
        """
        if len(token) > _TOKEN_LENGTH or not token.isascii():
            raise _refused("it is too long, or not ASCII")
        stem, _, seal = token.rpartition(".")
        name, _, rest = stem.partition(".")
        key = self._keys.get(name)
        if key is None:
            raise _refused(f"its key {name[:32]!r} is not known")
        if not compare_digest(key.seal(stem, service, method, path, request_id), seal):
            raise _refused("its seal does not fit this request")
        # From here on it is our own writing.
        until, _, what = rest.partition(".")
        left = int(until) / 1000 - now
        if left <= 0:
            raise _refused(f"it expired {-left:.1f} s ago")
        if left > _LONGEST + _SKEW:
            raise _refused(f"it is valid for {left:.0f} s, so the clocks differ")
        vouched = self._read.get(what)
        if vouched is None:
            vouched = self._decode(a2b_base64(what))
            if len(self._read) >= _MEMORY:
                self._read.clear()
            self._read[what] = vouched
        return vouched


def minting(
    tokens: InternalTokens, wall: Callable[[], float]
) -> Callable[[Vouched, str, str, str, str], str]:
    """Return what mints tokens at the present instant."""

    def mint(vouched: Vouched, service: str, method: str, path: str, request_id: str) -> str:
        return tokens.mint(vouched, service, method, path, request_id, wall())

    return mint


class _Sealer:
    """Keyed BLAKE2b, from a state that has taken the key in: a quarter less time than an HMAC."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        whole = blake2b(key).digest() if len(key) > blake2b.MAX_KEY_SIZE else key
        self._keyed = blake2b(key=whole, digest_size=_SEAL, person=_PURPOSE)

    def seal(self, stem: str, service: str, method: str, path: str, request_id: str) -> str:
        text = f"{stem}\0{service}\0{method}\0{request_id}\0{path}"
        # Else two requests could be written alike; what comes last may hold what it will.
        if "\0" in stem or "\0" in service or "\0" in method or "\0" in request_id:
            raise _refused("a part of the request holds a NUL")
        seal = self._keyed.copy()
        seal.update(text.encode("utf-8", "surrogatepass"))
        return seal.hexdigest()


def _refused(why: str) -> Fault:
    return Fault(
        Code.UNAUTHENTICATED,
        f"the internal token is refused: {why}",
        effect=Effect.NONE,
        public="This service answers only through its gateway.",
    )
