"""Access tokens: what is accepted, what is remembered, and every known way to forge one."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from switchgear.identity.jwks import KeySet, KeySetSettings
from switchgear.identity.keys import SigningKey, jwks
from switchgear.identity.revocations import Revocations
from switchgear.identity.tokens import Minter, TokenSettings, Verified, Verifier, bearer, digest_of
from switchgear.policy.call import Principal
from switchgear.policy.fault import Code, Fault

NOW = 1_800_000_000.0
SETTINGS = TokenSettings("https://accounts.example", "community")
OURS, OTHER = SigningKey.generate(), SigningKey.generate()
RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
ADA = Principal("ada", "acme", frozenset({"user:read", "user:write"}))

Jose = dict[str, Any]
CLAIMS: Jose = {
    "iss": SETTINGS.issuer,
    "aud": SETTINGS.audience,
    "sub": "ada",
    "iat": NOW,
    "exp": NOW + 900,
}
HEADER: Jose = {"alg": "EdDSA", "typ": "at+jwt", "kid": OURS.kid}


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value: Any) -> str:
    return encoded(value if isinstance(value, bytes) else json.dumps(value).encode())


def token(
    header: Any = HEADER, claims: Any = CLAIMS, sign: Callable[[bytes], bytes] = OURS.sign
) -> str:
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{encoded(sign(signed.encode()))}"


def published() -> bytes:
    held = json.loads(jwks([OURS]))
    held["keys"].append({**RSA.as_dict(private=False), "kid": "rsa", "alg": "RS256"})
    held["keys"].append({**EC.as_dict(private=False), "kid": "ec"})
    return json.dumps(held).encode()


def key_set(document: bytes | None = None) -> KeySet:
    async def fetch() -> bytes:
        return published() if document is None else document

    return KeySet(fetch, KeySetSettings(), lambda: 0.0)


def verifier(settings: TokenSettings = SETTINGS, **options: Any) -> Verifier:
    return Verifier(key_set(), settings, **options)


def known(checked: Verifier, text: str, now: float) -> Verified | None:
    """Look a token up as a gateway does: by its digest."""
    return checked.recall(digest_of(text), now)


async def refused(text: str, why: str, now: float = NOW) -> Fault:
    checked = verifier()
    for _ in range(2):  # a refusal must not leave anything behind that is accepted later
        with pytest.raises(Fault) as caught:
            await checked.inspect(text, now)
        assert caught.value.code is Code.UNAUTHENTICATED
        assert why in caught.value.detail
        assert caught.value.public != caught.value.detail
        assert known(checked, text, now) is None
    return caught.value


async def test_a_minted_token_is_accepted_with_all_it_says() -> None:
    minted = Minter(OURS, SETTINGS).mint(ADA, NOW, session="s1")
    found = await verifier().inspect(minted, NOW + 1)
    assert found.principal == ADA
    assert (found.session, found.kid, found.expires) == ("s1", OURS.kid, NOW + 900)
    assert found.vouched.principal == ADA
    assert await verifier().verify(minted, NOW) == ADA


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u2028", "\u0085", "\t", "\n", "\x1f"])
async def test_nothing_but_a_blank_parts_scopes(blank: str) -> None:
    found = await verifier().inspect(token(claims={**CLAIMS, "scope": f"a{blank}admin  b"}), NOW)
    assert found.principal.scopes == {f"a{blank}admin", "b"}


@pytest.mark.parametrize(("alg", "kid", "key"), [("RS256", "rsa", RSA), ("ES256", "ec", EC)])
async def test_tokens_of_other_pinned_algorithms_are_accepted(alg: str, kid: str, key: Any) -> None:
    model = JWSRegistry.algorithms[alg]
    text = token({**HEADER, "alg": alg, "kid": kid}, sign=lambda data: model.sign(data, key))
    assert (await verifier().inspect(text, NOW)).kid == kid


def none_of(data: bytes) -> bytes:
    return b""


def hs256_with(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda data: hmac.digest(secret, data, "sha256")


ED_PUBLIC = base64.urlsafe_b64decode(OURS.public()["x"] + "=")
RSA_PEM = RSA.as_pem(private=False)
OTHER_JWK = OTHER.public()


@pytest.mark.parametrize(
    ("header", "sign", "why"),
    [
        ({**HEADER, "alg": "none"}, OURS.sign, "asks for 'none'"),
        ({**HEADER, "alg": "None"}, OURS.sign, "asks for 'None'"),
        ({**HEADER, "alg": "none"}, none_of, "not three base64url parts"),
        ({**HEADER, "alg": "HS256"}, hs256_with(ED_PUBLIC), "asks for 'HS256'"),
        ({**HEADER, "alg": "HS256", "kid": "rsa"}, hs256_with(RSA_PEM), "asks for 'HS256'"),
        ({**HEADER, "alg": "RS256"}, OURS.sign, "asks for 'RS256'"),
        ({**HEADER, "alg": "PS256", "kid": "rsa"}, OURS.sign, "asks for 'PS256'"),
        ({**HEADER, "alg": "Ed25519"}, OURS.sign, "asks for 'Ed25519'"),
        ({**HEADER, "alg": "eddsa"}, OURS.sign, "asks for 'eddsa'"),
        ({**HEADER, "alg": ["EdDSA"]}, OURS.sign, "names no alg"),
        ({"typ": "at+jwt", "kid": OURS.kid}, OURS.sign, "names no alg"),
        (HEADER, OTHER.sign, "not that of its key"),
        ({**HEADER, "kid": "rsa", "alg": "RS256"}, OURS.sign, "not that of its key"),
        ({**HEADER, "kid": "ec", "alg": "ES256"}, lambda data: b"\0" * 64, "not that of its key"),
        ({**HEADER, "kid": "ec", "alg": "ES256"}, lambda data: b"\0", "not that of its key"),
        ({**HEADER, "jwk": OTHER_JWK}, OTHER.sign, "holds 'jwk'"),
        ({**HEADER, "jwk": OTHER_JWK}, OURS.sign, "holds 'jwk'"),
        ({**HEADER, "jku": "https://evil.example/jwks"}, OTHER.sign, "holds 'jku'"),
        ({**HEADER, "x5u": "https://evil.example/cert"}, OTHER.sign, "holds 'x5u'"),
        ({**HEADER, "x5c": ["MIIB"]}, OTHER.sign, "holds 'x5c'"),
        ({**HEADER, "crit": ["exp"]}, OURS.sign, "holds 'crit'"),
        ({**HEADER, "b64": False}, OURS.sign, "holds 'b64'"),
        ({**HEADER, "zip": "DEF"}, OURS.sign, "holds 'zip'"),
        ({**HEADER, "kid": OTHER.kid}, OTHER.sign, "publishes no key"),
        ({**HEADER, "kid": OURS.kid.swapcase()}, OURS.sign, "publishes no key"),
        ({**HEADER, "kid": OURS.kid + " "}, OURS.sign, "publishes no key"),
        ({**HEADER, "kid": "../../../dev/null"}, hs256_with(b""), "publishes no key"),
        ({**HEADER, "kid": "' OR 1=1 --"}, OURS.sign, "publishes no key"),
        ({**HEADER, "kid": [OURS.kid]}, OURS.sign, "names no kid"),
        ({**HEADER, "kid": {"a": 1}}, OURS.sign, "names no kid"),
        ({**HEADER, "kid": 7}, OURS.sign, "names no kid"),
        ({**HEADER, "kid": None}, OURS.sign, "names no kid"),
        ({**HEADER, "kid": True}, OURS.sign, "names no kid"),
        ({**HEADER, "kid": ""}, OURS.sign, "names no kid"),
        ({"alg": "EdDSA", "typ": "at+jwt"}, OURS.sign, "names no kid"),
        ({**HEADER, "typ": "JWT"}, OURS.sign, "not an access token"),
        ({**HEADER, "typ": "dpop+jwt"}, OURS.sign, "not an access token"),
        ({"alg": "EdDSA", "kid": OURS.kid}, OURS.sign, "names no typ"),
        ({**HEADER, "padding": "x" * 1200}, OURS.sign, "header is too long"),
        (b"{}x", OURS.sign, "header cannot be read"),
        (b"[]", OURS.sign, "not an object"),
        (b"null", OURS.sign, "not an object"),
        (b"\xff", OURS.sign, "header cannot be read"),
        (b'{"alg":"none","alg":"EdDSA"}', OURS.sign, "more than once"),
        (b'{"alg":"EdDSA","\\u0061lg":"none"}', OURS.sign, "more than once"),
        (b'{"alg":"\\ud800"}', OURS.sign, "header cannot be read"),
        (b"[" * 700, OURS.sign, "header cannot be read"),
    ],
)
async def test_a_forged_header_is_refused(
    header: Any, sign: Callable[[bytes], bytes], why: str
) -> None:
    await refused(token(header, sign=sign), why)


def doubled(name: str, value: Any) -> bytes:
    return (json.dumps(CLAIMS)[:-1] + f',"{name}":{json.dumps(value)}}}').encode()


def raw(name: str, value: str) -> bytes:
    kept = {key: held for key, held in CLAIMS.items() if key != name}
    return (json.dumps(kept)[:-1] + f',"{name}":{value}}}').encode()


def without(name: str) -> Jose:
    return {key: held for key, held in CLAIMS.items() if key != name}


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({**CLAIMS, "iss": "https://evil.example"}, "the issuer is"),
        ({**CLAIMS, "iss": SETTINGS.issuer + "/"}, "the issuer is"),
        ({**CLAIMS, "iss": [SETTINGS.issuer]}, "claims cannot be read"),
        (without("iss"), "claims cannot be read"),
        ({**CLAIMS, "aud": "other"}, "another audience"),
        ({**CLAIMS, "aud": []}, "another audience"),
        ({**CLAIMS, "aud": ["other", SETTINGS.audience + "2"]}, "another audience"),
        ({**CLAIMS, "aud": SETTINGS.audience[:-1]}, "another audience"),
        ({**CLAIMS, "aud": {SETTINGS.audience: 1}}, "claims cannot be read"),
        (without("aud"), "claims cannot be read"),
        ({**CLAIMS, "exp": NOW - 15}, "expired 15 s ago"),
        ({**CLAIMS, "exp": str(NOW + 900)}, "claims cannot be read"),
        ({**CLAIMS, "exp": True}, "claims cannot be read"),
        ({**CLAIMS, "exp": None}, "claims cannot be read"),
        ({**CLAIMS, "exp": [NOW]}, "claims cannot be read"),
        ({**CLAIMS, "exp": -1}, "claims cannot be read"),
        ({**CLAIMS, "exp": 2**60}, "claims cannot be read"),
        (raw("exp", "NaN"), "claims cannot be read"),
        (raw("exp", "Infinity"), "claims cannot be read"),
        (raw("exp", "1e999"), "claims cannot be read"),
        (raw("exp", "9" * 400), "claims cannot be read"),
        (raw("exp", "0x7fffffff"), "claims cannot be read"),
        (without("exp"), "claims cannot be read"),
        ({**CLAIMS, "exp": NOW + 90_000}, "lives longer than"),
        ({**CLAIMS, "nbf": NOW + 16}, "valid only in 16 s"),
        ({**CLAIMS, "nbf": NOW + 10**9}, "valid only in"),
        ({**CLAIMS, "nbf": "0"}, "claims cannot be read"),
        ({**CLAIMS, "iat": NOW + 16, "exp": NOW + 60}, "in the future"),
        (without("iat"), "claims cannot be read"),
        (without("sub"), "claims cannot be read"),
        ({**CLAIMS, "sub": ""}, "claims cannot be read"),
        ({**CLAIMS, "sub": 7}, "claims cannot be read"),
        ({**CLAIMS, "sub": "a" * 256}, "claims cannot be read"),
        ({**CLAIMS, "scope": ["user:write"]}, "claims cannot be read"),
        (doubled("exp", NOW + 900), "more than once"),
        (doubled("sub", "root"), "more than once"),
        (doubled("x", {}) + b" x", "claims cannot be read"),
        (raw("sub", '"\\ud800"'), "claims cannot be read"),
        (b"\xef\xbb\xbf" + json.dumps(CLAIMS).encode(), "claims cannot be read"),
        (b"[]", "not an object"),
        (b'"ada"', "not an object"),
        (b"[" * 2500, "claims cannot be read"),
    ],
)
async def test_wrong_claims_are_refused_although_the_signature_holds(claims: Any, why: str) -> None:
    await refused(token(claims=claims), why)


GOOD = token()
HEAD, BODY, SEAL = GOOD.split(".")
LAST = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "three base64url parts"),
        ("..", "three base64url parts"),
        (f"{HEAD}.{BODY}", "three base64url parts"),
        (f"{HEAD}.{BODY}.", "three base64url parts"),
        (f"{GOOD}.{SEAL}", "three base64url parts"),
        (f" {GOOD}", "three base64url parts"),
        (f"{GOOD}\n", "three base64url parts"),
        (f"{GOOD}\0", "three base64url parts"),
        (f"{HEAD}. {BODY}.{SEAL}", "three base64url parts"),
        (f"{GOOD}=", "three base64url parts"),
        (f"{GOOD}==", "three base64url parts"),
        (f"{HEAD}=.{BODY}.{SEAL}", "three base64url parts"),
        (f"{HEAD}.{BODY}.{SEAL}AAA", "impossible length"),
        (f"{HEAD}.{BODY}.{SEAL}A", ""),
        (f"{HEAD}.{BODY}.{SEAL}AA", ""),
        (f"{HEAD}.{BODY}.{SEAL[:-1]}{LAST[LAST.index(SEAL[-1]) + 1]}", "canonical base64url"),
        (f"{HEAD}.{BODY}.{SEAL[:-4]}", ""),
        (f"{HEAD}.{BODY}.{SEAL[::-1]}", ""),
        (f"{HEAD}.{part({**CLAIMS, 'sub': 'root'})}.{SEAL}", "not that of its key"),
        (f"{part({**HEADER, 'x': 1})}.{BODY}.{SEAL}", "not that of its key"),
        (GOOD.replace(SEAL, SEAL.replace("-", "+").replace("_", "/") + "+"), "three base64url"),
        (GOOD + "é", "three base64url parts"),
        (GOOD + "\ud800", "three base64url parts"),
        ("A" * 5000, "longer than 4096 bytes"),
        (json.dumps({"payload": BODY, "protected": HEAD, "signature": SEAL}), "three base64url"),
    ],
)
async def test_no_other_spelling_of_a_token_is_accepted(text: str, why: str) -> None:
    await refused(text, why)


async def test_an_array_of_audiences_and_claims_unknown_to_us_are_accepted() -> None:
    text = token(claims={**CLAIMS, "aud": ["x", SETTINGS.audience], "cnf": {"a": 1}, "nbf": NOW})
    assert (await verifier().inspect(text, NOW)).principal == Principal("ada")


async def test_the_leeway_is_bounded_on_both_sides() -> None:
    text = token(claims={**CLAIMS, "nbf": NOW})
    checked = verifier()
    for now in (NOW - 15, NOW, NOW + 914.9):
        await checked.inspect(text, now)
    for now in (NOW - 15.1, NOW + 915):
        with pytest.raises(Fault):
            await verifier().inspect(text, now)


async def test_an_expired_token_tells_its_bearer_so() -> None:
    fault = await refused(GOOD, "expired", NOW + 2000)
    assert fault.public == "The token has expired."


async def test_a_verified_token_is_remembered_until_it_expires() -> None:
    checked = verifier()
    assert known(checked, GOOD, NOW) is None
    found = await checked.inspect(GOOD, NOW)
    assert known(checked, GOOD, NOW + 914) is found
    assert await checked.inspect(GOOD, NOW + 914) is found
    assert checked.statistics() == {"known": 1, "hits": 2, "misses": 1}
    assert known(checked, GOOD, NOW + 915) is None
    assert checked.statistics()["known"] == 0


async def test_the_memory_is_keyed_by_the_whole_token_and_bounded() -> None:
    checked = verifier(TokenSettings(SETTINGS.issuer, SETTINGS.audience, memory=3))
    texts = [token(claims={**CLAIMS, "jti": str(number)}) for number in range(5)]
    for text in texts:
        await checked.inspect(text, NOW)
    assert [known(checked, text, NOW) is not None for text in texts] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert known(checked, texts[4][:-1], NOW) is None
    digest = hashlib.sha256(texts[4].encode()).digest()
    assert known(checked, digest.decode("latin-1"), NOW) is None


async def test_a_revoked_session_ends_at_once_also_for_remembered_tokens() -> None:
    revocations = Revocations()
    checked = verifier(revocations=revocations)
    mine = Minter(OURS, SETTINGS).mint(ADA, NOW, session="s1")
    hers = Minter(OURS, SETTINGS).mint(ADA, NOW, session="s2")
    for text in (mine, hers):
        await checked.inspect(text, NOW)
    revocations.revoke("s1", NOW + 915, NOW)
    assert known(checked, mine, NOW) is None
    assert known(checked, hers, NOW) is not None
    with pytest.raises(Fault, match="session was revoked") as caught:
        await checked.inspect(mine, NOW)
    assert caught.value.public == "The session has ended."


async def test_a_withdrawn_key_takes_its_remembered_tokens_along() -> None:
    held = [OURS, OTHER]

    async def fetch() -> bytes:
        return jwks(held)

    keys = KeySet(fetch, KeySetSettings(), lambda: 0.0)
    checked = Verifier(keys, SETTINGS)
    ours, other = (Minter(key, SETTINGS).mint(ADA, NOW) for key in held)
    for text in (ours, other):
        await checked.inspect(text, NOW)
    held.remove(OURS)
    await keys.refresh()
    assert known(checked, ours, NOW) is None
    assert known(checked, other, NOW) is not None
    with pytest.raises(Fault, match="publishes no key"):
        await checked.inspect(ours, NOW)
    checked.flush()
    assert known(checked, other, NOW) is None


async def test_an_unknown_key_while_the_key_service_is_down_is_unavailable() -> None:
    async def fetch() -> bytes:
        raise ConnectionError("refused")

    checked = Verifier(KeySet(fetch, KeySetSettings(), lambda: 0.0), SETTINGS)
    with pytest.raises(Fault) as caught:
        await checked.inspect(GOOD, NOW)
    assert caught.value.code is Code.UNAVAILABLE
    assert caught.value.retry_after == 5.0


async def test_many_bearers_of_new_tokens_cause_one_fetch() -> None:
    fetches = 0

    async def fetch() -> bytes:
        nonlocal fetches
        fetches += 1
        await asyncio.sleep(0)
        return published()

    checked = Verifier(KeySet(fetch, KeySetSettings(), lambda: 0.0), SETTINGS)
    minter = Minter(OURS, SETTINGS)
    texts = [minter.mint(ADA, NOW) for _ in range(20)]
    assert set(await asyncio.gather(*(checked.verify(text, NOW) for text in texts))) == {ADA}
    assert fetches == 1


def test_the_bearer_of_an_authorization_header() -> None:
    assert bearer("Bearer abc") == "abc"
    assert bearer("bearer abc") == "abc"
    for header in (None, "", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "Bearer  a", "abc"):
        with pytest.raises(Fault) as caught:
            bearer(header)
        assert caught.value.code is Code.UNAUTHENTICATED
