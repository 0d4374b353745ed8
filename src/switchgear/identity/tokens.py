"""Access tokens: minted by accounts, verified by every gateway, remembered once verified.

Verifying a signature costs some 100 microseconds, looking a verified token up under one. The
memory is keyed by the SHA-256 of the whole token, so that no two spellings share an entry, and
asks the revocations on every hit, so that a revoked session ends at once.

Source: RFC 7519, RFC 9068 (JWT access tokens), RFC 8725, RFC 6750 (bearer).
"""

import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec

from switchgear.identity.claims import Claims, TokenSettings, Verified
from switchgear.identity.compact import encode_part, join, split
from switchgear.identity.documents import read_object
from switchgear.identity.internal import Vouched
from switchgear.identity.jwks import KeySet
from switchgear.identity.keys import SigningKey
from switchgear.identity.revocations import Revocations
from switchgear.policy.call import Principal
from switchgear.policy.fault import Code, Effect, Fault

__all__ = [
    "Minter",
    "TokenSettings",
    "Verified",
    "Verifier",
    "bearer",
    "digest_of",
    "recalling",
]

_KIND: Final = "at+jwt"
_INVALID: Final = "The token is not valid."
_NEEDED: Final = "This needs a token: send Authorization: Bearer <token>."


class Minter:
    """Signs access tokens with one key."""

    def __init__(self, key: SigningKey, settings: TokenSettings) -> None:
        self._key = key
        self._settings = settings
        header = {"alg": key.algorithm, "typ": _KIND, "kid": key.kid}
        self._header = encode_part(msgspec.json.encode(header))

    def mint(self, principal: Principal, now: float, *, session: str = "") -> str:
        """Mint a token for `principal`. `now` is wall-clock time, in seconds since 1970."""
        claims = Claims(
            iss=self._settings.issuer,
            sub=principal.subject,
            aud=self._settings.audience,
            exp=int(now + self._settings.lifetime),
            iat=int(now),
            jti=secrets.token_urlsafe(16),
            scope=" ".join(sorted(principal.scopes)),
            tenant=principal.tenant,
            sid=session,
        )
        signed = f"{self._header}.{encode_part(msgspec.json.encode(claims))}"
        return join(signed, self._key.sign(signed.encode()))


class Verifier:
    """Verifies access tokens of one issuer for one audience."""

    def __init__(
        self,
        keys: KeySet,
        settings: TokenSettings,
        revocations: Revocations | None = None,
    ) -> None:
        self._keys = keys
        self._settings = settings
        self._revocations = Revocations() if revocations is None else revocations
        self._memory: dict[bytes | None, Verified] = {}
        self._decode: Callable[[bytes], Claims] = msgspec.json.Decoder(Claims).decode
        self._hits = 0
        self._misses = 0
        keys.on_withdrawal(self._withdraw)

    def recall(self, digest: bytes | None, now: float) -> Verified | None:
        """Return what is known, by its digest, of a token that was verified before: the hot path.

        None says nothing about the token; `inspect` decides.
        """
        found = self._memory.get(digest)
        if found is None:
            return None
        if now >= found.expires + self._settings.leeway or self._revocations.covers(
            found.session, found.issued
        ):
            del self._memory[found.digest]
            return None
        self._hits += 1
        return found

    async def verify(self, token: str, now: float) -> Principal:
        """Return who a token speaks for. `now` is wall-clock time, in seconds since 1970.

        Raises `Fault`: unauthenticated with the precise reason in `detail`, or unavailable when the
        key service is down and the key is not known.
        """
        return (await self.inspect(token, now)).principal

    async def inspect(self, token: str, now: float) -> Verified:
        """Verify a token and return all that it says. Raises as `verify`."""
        if len(token) > self._settings.token_bytes:
            self._misses += 1
            raise _refused(f"the token is longer than {self._settings.token_bytes} bytes")
        digest = digest_of(token)
        found = self.recall(digest, now)
        if found is not None:
            return found
        self._misses += 1
        try:
            parts = split(token)
        except ValueError as error:
            raise _refused(f"the token is malformed: {error}") from None
        if parts.kind.lower().removeprefix("application/") != _KIND:
            raise _refused(f"the token is a {parts.kind[:64]!r}, not an access token")
        key = await self._keys.key(parts.kid)
        if parts.algorithm != key.algorithm:
            raise _refused(
                f"the token asks for {parts.algorithm[:64]!r}, its key for {key.algorithm}"
            )
        if not key.verify(parts.signed, parts.signature):
            raise _refused("the signature is not that of its key")
        verified = self._accept(parts.payload, key.kid, now, digest)
        self._remember(verified)
        return verified

    def flush(self) -> None:
        """Forget every verified token."""
        self._memory.clear()

    def statistics(self) -> dict[str, float | str]:
        """Return the present figures."""
        return {"known": len(self._memory), "hits": self._hits, "misses": self._misses}

    def _accept(self, payload: bytes, kid: str, now: float, digest: bytes) -> Verified:
        """Check the claims of a token whose signature holds."""
        try:
            read_object(payload)
            claims = self._decode(payload)
        except ValueError as error:
            raise _refused(f"the claims cannot be read: {error}") from None
        settings = self._settings
        if claims.iss != settings.issuer:
            raise _refused(f"the issuer is {claims.iss[:64]!r}, not {settings.issuer!r}")
        audiences = claims.aud if isinstance(claims.aud, list) else [claims.aud]
        if settings.audience not in audiences:
            raise _refused(f"the token is for another audience than {settings.audience!r}")
        if now >= claims.exp + settings.leeway:
            raise _refused(
                f"the token expired {now - claims.exp:.0f} s ago", "The token has expired."
            )
        if now < claims.nbf - settings.leeway:
            raise _refused(f"the token is valid only in {claims.nbf - now:.0f} s")
        if now < claims.iat - settings.leeway:
            raise _refused(f"the token was issued {claims.iat - now:.0f} s in the future")
        if claims.exp - claims.iat > settings.longest:
            raise _refused(f"the token lives longer than {settings.longest:.0f} s")
        if self._revocations.covers(claims.sid, claims.iat):
            raise _refused("the session was revoked", "The session has ended.")
        # By the one blank that RFC 6749 section 3.3 has: with any other, whose issuer takes what he
        # holds for one odd scope would have it taken for two here.
        scopes = frozenset(filter(None, claims.scope.split(" ")))
        principal = Principal(claims.sub, claims.tenant, scopes)
        vouched = Vouched(principal)
        return Verified(principal, claims.exp, claims.iat, claims.sid, kid, vouched, digest)

    def _remember(self, verified: Verified) -> None:
        while len(self._memory) >= self._settings.memory:
            del self._memory[next(iter(self._memory))]  # the oldest
        self._memory[verified.digest] = verified

    def _withdraw(self, kids: frozenset[str]) -> None:
        self._memory = {
            digest: held for digest, held in self._memory.items() if held.kid not in kids
        }


def recalling(
    verifier: Verifier, wall: Callable[[], float]
) -> Callable[[bytes | None], Verified | None]:
    """Return what recalls a token at the present instant."""

    def recall(digest: bytes | None) -> Verified | None:
        return verifier.recall(digest, wall())

    return recall


def digest_of(token: str) -> bytes:
    """Return by what a token is remembered: no two spellings share one, and it is no token."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def bearer(header: str | None) -> str:
    """Return the token of an Authorization header. Raises `Fault` (unauthenticated)."""
    if not header:
        raise _refused("there is no Authorization header", _NEEDED)
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token or token.strip() != token or " " in token:
        raise _refused("the Authorization header holds no bearer token", _NEEDED)
    return token


def _refused(detail: str, public: str = _INVALID) -> Fault:
    return Fault(Code.UNAUTHENTICATED, detail, effect=Effect.NONE, public=public)
