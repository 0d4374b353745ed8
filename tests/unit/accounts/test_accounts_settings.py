"""The figures of accounts: what nobody could sign in with is refused where it is written."""

import time
from typing import Any

import pytest

from switchgear.accounts.settings import AccountsSettings
from switchgear.identity.jwks import KeySet
from switchgear.identity.keys import SigningKey, jwks
from switchgear.identity.tokens import Minter, TokenSettings, Verifier
from switchgear.policy.call import Principal


@pytest.mark.parametrize(
    "given",
    [
        {"issuer": ""},
        {"audience": ""},
        {"issuer": "i" * 201},
        {"access_lifetime": 0.5},
        {"access_lifetime": 86_401.0},
        {"access_lifetime": float("nan")},
        {"refresh_idle": 0.0},
        {"refresh_whole": -1.0},
        {"refresh_whole": float("inf")},
        {"refresh_grace": 60.5},
        {"refresh_grace": -0.1},
        {"sessions": 0},
        {"sessions": 10_001},
        {"password_least": 0},
        {"password_least": 257},
        {"default_scopes": ("read write",)},
        {"default_scopes": ("",)},
        {"default_scopes": ('a"b',)},
        {"default_scopes": ("a" * 1024, "b" * 1024)},
    ],
)
def test_a_figure_that_would_shut_everybody_out_is_refused(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(ValueError, match=name):
        AccountsSettings(**given)


async def test_the_most_that_is_accepted_makes_tokens_that_gateways_accept() -> None:
    settings = AccountsSettings(
        issuer="i" * 200,
        audience="a" * 200,
        access_lifetime=86_400.0,
        default_scopes=("a" * 1024, "b" * 1023),
    )
    key = SigningKey.generate()
    names = settings.issuer, settings.audience
    who = Principal("s" * 36, "t" * 36, frozenset(settings.default_scopes))
    minter = Minter(key, TokenSettings(*names, settings.access_lifetime))
    token = minter.mint(who, time.time(), session="f" * 32)

    async def fetch() -> bytes:
        return jwks([key])

    verifier = Verifier(KeySet(fetch), TokenSettings(*names))
    assert await verifier.verify(token, time.time()) == who
