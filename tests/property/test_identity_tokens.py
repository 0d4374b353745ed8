"""Whatever text is brought as a token, it is refused as one: never accepted, never a crash."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.identity.internal import InternalTokens, Vouched
from switchgear.identity.jwks import KeySet, KeySetSettings
from switchgear.identity.keys import SigningKey, jwks
from switchgear.identity.refresh import RefreshTokens
from switchgear.identity.shared import SharedKeys
from switchgear.identity.tokens import Minter, TokenSettings, Verifier
from switchgear.policy.call import Principal
from switchgear.policy.fault import Code, Fault

KEY = SigningKey.generate()
SETTINGS = TokenSettings("i", "a")
GOOD = Minter(KEY, SETTINGS).mint(Principal("ada"), 0.0)
SHARED = SharedKeys({"k": b"k" * 32}, "k")
INTERNAL = InternalTokens(SHARED)
SEALED = INTERNAL.mint(Vouched(), "s", "m", "p", "r", 0.0)


@st.composite
def mangled(draw: st.DrawFn, text: str) -> str:
    """Cut, repeat, replace or insert somewhere."""
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 8)))
    patch = draw(st.text("AZaz09-_=.+/ \n\0é\ud800", max_size=8))
    return text[:start] + patch + text[end:]


async def code(text: str) -> Code | None:
    async def fetch() -> bytes:
        return jwks([KEY])

    verifier = Verifier(KeySet(fetch, KeySetSettings(), lambda: 0.0), SETTINGS)
    try:
        await verifier.verify(text, 0.0)
    except Fault as fault:
        return fault.code
    return None


@settings(deadline=None)
@given(st.one_of(mangled(GOOD), st.text(max_size=40)))
def test_an_access_token_is_accepted_in_one_spelling_only(text: str) -> None:
    expected = None if text == GOOD else Code.UNAUTHENTICATED
    assert asyncio.run(code(text)) is expected


@given(st.one_of(mangled(SEALED), st.text(max_size=40)))
def test_an_internal_token_is_accepted_in_one_spelling_only(text: str) -> None:
    try:
        INTERNAL.verify(text, "s", "m", "p", "r", 0.0)
        accepted = True
    except Fault:
        accepted = False
    assert accepted == (text == SEALED)


@given(st.text(max_size=80))
def test_no_text_is_a_refresh_token(text: str) -> None:
    try:
        RefreshTokens(SHARED).read(text)
    except Fault:
        return
    raise AssertionError("accepted")
