"""Keys: signing keys of our own (Ed25519), and what we accept of a published one.

The libraries accept what they should refuse, so the policy is ours: one algorithm
is pinned to each key, only asymmetric ones exist here (a token can therefore never be
verified with a public key as an HMAC secret), and `use`, `key_ops` and sizes are checked.

Source: RFC 7517, RFC 7518 section 3, RFC 8037, RFC 8725 (JWT best current practices).
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

__all__ = ["SigningKey", "UnfitKeyError", "VerifyingKey", "jwks", "verifying_key"]

_CURVES: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),  # one algorithm under its old and its new name
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
}
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_RSA_BITS: Final = range(2048, 8193)  # shorter is weak, longer lets a key burn our processor
_KID_LENGTH: Final = 128
_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


class UnfitKeyError(ValueError):
    """A published key that we do not use, and why."""


class VerifyingKey:
    """A public key with the one algorithm that it may be used with."""

    __slots__ = ("_key", "_model", "algorithm", "kid")

    def __init__(self, kid: str, algorithm: str, key: OKPKey | ECKey | RSAKey) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self._key = key
        self._model = JWSRegistry.algorithms[algorithm]

    def verify(self, signed: bytes, signature: bytes) -> bool:
        """Say whether `signature` is this key's over `signed`."""
        try:
            return self._model.verify(signed, signature, self._key)
        except ValueError:  # a signature that cannot even be read: of a wrong length, say
            return False

    def same_as(self, other: "VerifyingKey") -> bool:
        """Say whether both are one key for one algorithm."""
        return (
            self.algorithm == other.algorithm and self._key.thumbprint() == other._key.thumbprint()  # noqa: SLF001 - of our kind
        )


def verifying_key(jwk: Mapping[str, Any]) -> VerifyingKey:
    """Accept one published key (a JWK), or say why not.

    Raises UnfitKeyError.
    """
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= _KID_LENGTH:
        raise UnfitKeyError("it has no usable kid")
    if any(name in jwk for name in _PRIVATE):
        raise UnfitKeyError(f"key {kid!r} holds private or secret members")
    if jwk.get("use", "sig") != "sig":
        raise UnfitKeyError(f"key {kid!r} is not for signatures")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise UnfitKeyError(f"key {kid!r} is not for verifying")
    algorithm = _algorithm(kid, jwk)
    kind = jwk["kty"]
    # Only the members that make the key: what else stands there is nobody's instruction to us.
    kinds: dict[str, tuple[Callable[[Any], OKPKey | ECKey | RSAKey], tuple[str, ...]]] = {
        "OKP": (OKPKey.import_key, ("kty", "crv", "x")),
        "EC": (ECKey.import_key, ("kty", "crv", "x", "y")),
        "RSA": (RSAKey.import_key, ("kty", "n", "e")),
    }
    load, names = kinds[kind]
    if not all(isinstance(jwk.get(name), str) for name in names):
        raise UnfitKeyError(f"key {kid!r} lacks one of {', '.join(names)}")
    try:
        if kind == "RSA":
            _check_bits(kid, jwk["n"])
        key = load({name: jwk[name] for name in names})
    except UnfitKeyError:
        raise
    except (JoseError, ValueError, TypeError) as error:
        raise UnfitKeyError(f"key {kid!r} cannot be read: {error}") from error
    return VerifyingKey(kid, algorithm, key)


def _check_bits(kid: str, modulus: str) -> None:
    """Refuse a modulus of a wrong size before anything is computed with it."""
    data = urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))
    bits = int.from_bytes(data, "big").bit_length()
    if bits not in _RSA_BITS:
        raise UnfitKeyError(f"key {kid!r} has {bits} bits; {_RSA_BITS[0]} to {_RSA_BITS[-1]} serve")


def _algorithm(kid: str, jwk: Mapping[str, Any]) -> str:
    """Return the one algorithm of a key: the one it names, or the only one its curve has."""
    kind, curve, named = jwk.get("kty"), jwk.get("crv"), jwk.get("alg")
    if kind == "RSA":
        possible: tuple[str, ...] = _RSA
        if named is None:
            raise UnfitKeyError(f"key {kid!r} names no alg, and RSA has several")
    elif isinstance(kind, str) and isinstance(curve, str):
        possible = _CURVES.get((kind, curve), ())
    else:
        possible = ()
    if not possible:
        raise UnfitKeyError(f"key {kid!r} is of a kind that we do not use")
    if named is None:
        return possible[0]
    if not isinstance(named, str) or named not in possible:
        raise UnfitKeyError(f"key {kid!r} names an alg that does not fit its kind")
    return named


class SigningKey:
    """An Ed25519 key of our own; its `kid` is its thumbprint (RFC 7638)."""

    algorithm: Final = "EdDSA"

    __slots__ = ("_key", "_model", "kid")

    def __init__(self, key: OKPKey) -> None:
        if not key.is_private or key.curve_name != "Ed25519":
            raise UnfitKeyError("a signing key is a private Ed25519 key")
        self._key = key
        self._model = JWSRegistry.algorithms[self.algorithm]
        self.kid = key.thumbprint()

    @classmethod
    def generate(cls) -> "SigningKey":
        """Make a new key from the system's randomness."""
        return cls(OKPKey.generate_key("Ed25519", private=True))

    @classmethod
    def load(cls, jwk: Mapping[str, Any]) -> "SigningKey":
        """Read what `private` wrote. Raises UnfitKeyError."""
        try:
            names = ("kty", "crv", "x", "d")
            return cls(OKPKey.import_key({name: jwk[name] for name in names}))
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise UnfitKeyError(f"no private Ed25519 key: {error}") from error

    def sign(self, data: bytes) -> bytes:
        """Sign `data`."""
        return self._model.sign(data, self._key)

    def public(self) -> dict[str, Any]:
        """Return the JWK to publish."""
        held = self._key.as_dict(private=False)
        named = {"kid": self.kid, "use": "sig", "alg": self.algorithm, "key_ops": ["verify"]}
        return {"kty": held["kty"], "crv": held["crv"], "x": held["x"], **named}

    def private(self) -> dict[str, Any]:
        """Return the JWK to store: a secret."""
        held = self._key.as_dict(private=True)
        return {name: held[name] for name in ("kty", "crv", "x", "d")}

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r})"


def jwks(keys: Iterable[SigningKey]) -> bytes:
    """Write the key set to publish at `/.well-known/jwks.json`."""
    return json.dumps({"keys": [key.public() for key in keys]}, separators=(",", ":")).encode()
