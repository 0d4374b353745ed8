"""Keys: one algorithm each, asymmetric only, and only such as are fit."""

import json
import warnings
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from switchgear.identity.keys import SigningKey, UnfitKeyError, jwks, verifying_key
from switchgear.identity.shared import SharedKeys

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the library says that it is weak, which is the point
    WEAK = RSAKey.generate_key(1024)
RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
ED = OKPKey.generate_key("Ed25519")


def public(key: Any, **members: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), "kid": "k", **members}


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (ED, "EdDSA"),
        (ED, "Ed25519"),
        (EC, "ES256"),
        (ECKey.generate_key("P-384"), "ES384"),
        (RSA, "RS256"),
        (RSA, "PS512"),
    ],
)
def test_a_fit_key_verifies_what_it_signed_and_nothing_else(key: Any, alg: str) -> None:
    signature = JWSRegistry.algorithms[alg].sign(b"text", key)
    fit = verifying_key(public(key, alg=alg, use="sig", key_ops=["verify"]))
    assert (fit.kid, fit.algorithm) == ("k", alg)
    assert fit.verify(b"text", signature)
    assert not fit.verify(b"texT", signature)
    assert not fit.verify(b"text", signature[:-1])
    assert not fit.verify(b"text", b"")


def test_a_curve_names_its_algorithm() -> None:
    assert verifying_key(public(ED)).algorithm == "EdDSA"
    assert verifying_key(public(EC)).algorithm == "ES256"


@pytest.mark.parametrize(
    ("jwk", "why"),
    [
        ({}, "no usable kid"),
        (public(ED, kid=7), "no usable kid"),
        (public(ED, kid=""), "no usable kid"),
        (public(ED, kid="k" * 129), "no usable kid"),
        (public(ED, use="enc"), "not for signatures"),
        (public(ED, key_ops=["sign"]), "not for verifying"),
        (public(ED, key_ops="verify"), "not for verifying"),
        (public(ED, alg="HS256"), "does not fit its kind"),
        (public(ED, alg="none"), "does not fit its kind"),
        (public(ED, alg=["EdDSA"]), "does not fit its kind"),
        (public(EC, alg="ES384"), "does not fit its kind"),
        (public(EC, alg="EdDSA"), "does not fit its kind"),
        (public(RSA), "names no alg"),
        (public(RSA, alg="HS256"), "does not fit its kind"),
        (public(RSA, alg="RS256", e=RSA.as_dict(private=False)["n"]), "cannot be read"),
        (public(WEAK, alg="RS256"), "1024 bits"),
        (public(OKPKey.generate_key("X25519")), "of a kind that we do not use"),
        (public(OKPKey.generate_key("Ed448")), "of a kind that we do not use"),
        (public(ECKey.generate_key("secp256k1")), "of a kind that we do not use"),
        ({"kty": "oct", "k": "c2VjcmV0", "kid": "k", "alg": "HS256"}, "private or secret"),
        ({"kty": "oct", "kid": "k", "alg": "HS256"}, "of a kind that we do not use"),
        ({**ED.as_dict(private=True), "kid": "k"}, "private or secret"),
        (public(ED, x="AA"), "cannot be read"),
        (public(ED, x=3), "lacks one of"),
        (public(EC, y=EC.as_dict(private=False)["x"]), "cannot be read"),
        (public(ED, kty=["OKP"]), "of a kind that we do not use"),
        (public(ED, crv={"a": 1}), "of a kind that we do not use"),
    ],
)
def test_an_unfit_key_is_refused_with_its_reason(jwk: dict[str, Any], why: str) -> None:
    with pytest.raises(UnfitKeyError, match=why):
        verifying_key(jwk)


def test_our_keys_are_published_without_their_secret_and_restored_with_it() -> None:
    key = SigningKey.generate()
    (published,) = json.loads(jwks([key]))["keys"]
    assert published == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": published["x"],
        "kid": key.kid,
        "use": "sig",
        "alg": "EdDSA",
        "key_ops": ["verify"],
    }
    again = SigningKey.load(key.private())
    assert again.kid == key.kid
    assert verifying_key(published).verify(b"text", again.sign(b"text"))
    assert key.private()["d"] not in repr(key)


@pytest.mark.parametrize(
    "jwk", [{}, public(ED), EC.as_dict(private=True), {"kty": "oct", "k": "AA"}, {"kty": 3}]
)
def test_only_a_private_ed25519_key_signs(jwk: dict[str, Any]) -> None:
    with pytest.raises(UnfitKeyError):
        SigningKey.load(jwk)


def test_shared_keys_are_long_enough_and_never_shown() -> None:
    keys = SharedKeys({"a": b"x" * 32, "b": b"y" * 40}, "b")
    assert "xxx" not in repr(keys)
    for wrong in ({"a": b"x" * 31}, {"a.b": b"x" * 32}, {"b": b"x" * 32}, {}):
        with pytest.raises(ValueError, match=r"key"):
            SharedKeys(wrong, "a")


def test_the_library_would_have_signed_with_a_short_secret() -> None:
    # The reason for a policy of our own: should this ever fail, the policy may shrink.
    with pytest.warns(match="112 bits"):
        weak = OctKey.import_key("short")
    assert JWSRegistry.algorithms["HS256"].sign(b"text", weak)
