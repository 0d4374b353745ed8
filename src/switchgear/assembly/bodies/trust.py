"""How a gateway proves who calls: by the keys that accounts publish, fetched as by any client."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from switchgear.assembly.bodies.web import internal_tokens
from switchgear.assembly.roles import RoleContext
from switchgear.assembly.routes import ACCOUNTS, KEYS
from switchgear.core.clock import FINE
from switchgear.gateway.onward import Trust
from switchgear.gateway.passage import NOBODY
from switchgear.gateway.upstream import Upstream
from switchgear.http.headers import Headers
from switchgear.http.message import Request
from switchgear.identity.internal import InternalTokens, minting
from switchgear.identity.jwks import KeySet
from switchgear.identity.tokens import TokenSettings, Verified, Verifier, recalling
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["trusting"]

_KEYS_WITHIN: Final = 1.8  # seconds: before the key set's own patience ends
_KEYS_BYTES: Final = 64 << 10


@asynccontextmanager
async def trusting(context: RoleContext, accounts: Upstream | None) -> AsyncIterator[Trust]:
    """Build what proves callers to the gateway and the gateway to services.

    While it is entered, the keys are asked for regularly. Without accounts (a mounted application
    signs its own users in) no token is ours to believe.
    """
    tokens = internal_tokens(context)
    mint = minting(tokens, time.time)
    if accounts is None:
        yield Trust(lambda _: None, _nobody, mint)
        return
    settings = context.settings
    keys = KeySet(_fetching(accounts, tokens))
    verifier = Verifier(
        keys,
        TokenSettings(
            issuer=settings.accounts.issuer,
            audience=settings.accounts.audience,
            leeway=settings.gateway.leeway,
            memory=settings.gateway.token_cache,
        ),
    )

    async def authenticate(token: str) -> Verified:
        return await verifier.inspect(token, time.time())

    refreshing = asyncio.create_task(_refreshed(context, keys))
    try:
        yield Trust(recalling(verifier, time.time), authenticate, mint)
    finally:
        refreshing.cancel()
        await asyncio.gather(refreshing, return_exceptions=True)
        await keys.close()


async def _nobody(token: str) -> Verified:
    raise Fault(Code.UNAUTHENTICATED, "this system has no accounts", effect=Effect.NONE)


async def _refreshed(context: RoleContext, keys: KeySet) -> None:
    """Ask for the keys again and again, so that tokens of a withdrawn one end."""
    while True:
        await asyncio.sleep(context.settings.gateway.keys_every)
        try:
            await keys.refresh()
        except Fault as fault:  # those that are known go on serving
            context.log.warning("the keys were not refreshed", detail=fault.detail)


def _fetching(accounts: Upstream, tokens: InternalTokens) -> Callable[[], Awaitable[bytes]]:
    lane = accounts.lane(KEYS)

    async def fetch() -> bytes:
        token = tokens.mint(NOBODY, ACCOUNTS, KEYS.method, KEYS.path, "keys", time.time())
        headers = Headers({"x-request-id": "keys", "switchgear-token": token})
        request = Request.of(KEYS.method, KEYS.path, headers=headers)
        answer = await lane.run(Call(request, FINE() + _KEYS_WITHIN, repeatable=True))
        body = await answer.read(_KEYS_BYTES)
        if answer.status != 200:
            raise Fault(Code.UNAVAILABLE, f"accounts answered {answer.status} for its keys")
        return body

    return fetch
