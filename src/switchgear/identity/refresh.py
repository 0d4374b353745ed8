"""Refresh tokens: they rotate, and one that comes back after its successor ends them all.

A family is one sign-in: a chain of tokens, each replaced by the next when it is used. A token that
is used twice was copied, and nobody can tell the thief from the owner, so the family ends. One
exception is made: a response may be lost on its way, so the predecessor, once and
within ten seconds, is answered by the same successor again.

This is the decision alone. The storage keeps one row per family, reads it, asks `decide`, and
writes the new row only if the old one is still there as it was read
(`UPDATE ... WHERE id = ? AND generation = ? AND graced = ? AND NOT revoked`); who loses that race
reads and decides again. A race therefore has one winner, and its loser gets the same successor.

Tokens are derived, not stored: whoever reads the table holds none.

Source: RFC 9700 section 4.14.2 (refresh token replay), RFC 2104.
"""

import secrets
from hmac import compare_digest, digest
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from switchgear.identity.shared import SharedKeys
from switchgear.policy.fault import Code, Effect, Fault

__all__ = [
    "Decision",
    "Ended",
    "Family",
    "Presented",
    "RefreshSettings",
    "RefreshTokens",
    "Repeated",
    "Reused",
    "Rotated",
    "begin",
    "decide",
]

_PURPOSE: Final = "switchgear refresh 1"
_MARK: Final = "sgr1"
_TOKEN_LENGTH: Final = 512


class RefreshSettings(msgspec.Struct, frozen=True):
    """How long a family lives: unused, in all, and a lost response's grace. In seconds."""

    idle: Annotated[float, Meta(gt=0)] = 14 * 86_400.0
    whole: Annotated[float, Meta(gt=0)] = 90 * 86_400.0
    grace: Annotated[float, Meta(ge=0, le=60)] = 10.0


class Family(msgspec.Struct, frozen=True):
    """The row of one family. Instants are wall-clock, in seconds since 1970.

    `generation` is that of the newest token, `rotated` when it was issued, `graced` whether it has
    been handed out a second time.
    """

    id: str
    generation: int
    rotated: float
    ends: float
    graced: bool = False
    revoked: bool = False


class Rotated(NamedTuple):
    """Write `family`, then answer with the token of its generation."""

    family: Family


class Repeated(NamedTuple):
    """The response was lost: write `family`, then answer with the same token once more."""

    family: Family


class Reused(NamedTuple):
    """A spent token came back: write `family`, which is revoked, and refuse."""

    family: Family
    detail: str


class Ended(NamedTuple):
    """Refuse; there is nothing to write."""

    detail: str


Decision = Rotated | Repeated | Reused | Ended


def begin(now: float, settings: RefreshSettings) -> Family:
    """Begin the family of a new sign-in, with a first token of generation 1."""
    return Family(secrets.token_hex(16), 1, now, now + settings.whole)


def decide(family: Family, generation: int, now: float, settings: RefreshSettings) -> Decision:
    """Decide on a genuine token of this family, of `generation`."""
    if family.revoked:
        return Ended(f"family {family.id} was revoked")
    if now >= family.ends:
        return Ended(f"family {family.id} ended {now - family.ends:.0f} s ago")
    if now - family.rotated >= settings.idle:
        return Ended(f"family {family.id} was not used for {now - family.rotated:.0f} s")
    if generation == family.generation:
        return Rotated(
            msgspec.structs.replace(
                family, generation=generation + 1, rotated=max(now, family.rotated), graced=False
            )
        )
    late = now - family.rotated
    if generation == family.generation - 1 and not family.graced and late <= settings.grace:
        return Repeated(msgspec.structs.replace(family, graced=True))
    return Reused(
        msgspec.structs.replace(family, revoked=True),
        f"generation {generation} of family {family.id} came back {late:.1f} s after"
        f" generation {family.generation} was issued",
    )


class Presented(NamedTuple):
    """What a genuine token says."""

    family: str
    generation: int


class RefreshTokens:
    """Writes and reads the tokens, by a keyed hash over family and generation."""

    def __init__(self, keys: SharedKeys) -> None:
        self._keys = keys

    def write(self, family: Family) -> str:
        """Return the newest token of a family."""
        current = self._keys.current
        stem = f"{_MARK}.{current}.{family.id}.{family.generation}"
        return f"{stem}.{_seal(self._keys.keys[current], stem)}"

    def read(self, token: str) -> Presented:
        """Return what a token says, if we wrote it. Raises `Fault` (unauthenticated)."""
        if len(token) > _TOKEN_LENGTH or not token.isascii():
            raise _refused("it is too long, or not ASCII")
        stem, _, seal = token.rpartition(".")
        parts = stem.split(".")
        if len(parts) != 4 or parts[0] != _MARK:
            raise _refused("it is none of ours")
        key = self._keys.keys.get(parts[1])
        if key is None:
            raise _refused(f"its key {parts[1][:32]!r} is not known")
        if not compare_digest(_seal(key, stem), seal):
            raise _refused("its seal does not fit")
        return Presented(parts[2], int(parts[3]))


def _seal(key: bytes, stem: str) -> str:
    return digest(key, f"{_PURPOSE}\0{stem}".encode(), "sha256").hex()


def _refused(why: str) -> Fault:
    return Fault(
        Code.UNAUTHENTICATED,
        f"the refresh token is refused: {why}",
        effect=Effect.NONE,
        public="The session has ended; sign in again.",
    )
