"""How a gateway proves who calls: by the keys that accounts publish, fetched as by any client."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from switchgear.assembly.bodies.asking import asking
from switchgear.assembly.bodies.ended import EndedSessions
from switchgear.assembly.bodies.web import internal_tokens
from switchgear.assembly.roles import RoleContext
from switchgear.assembly.routes import ENDED, KEYS
from switchgear.gateway.onward import Trust
from switchgear.gateway.upstream import Upstream
from switchgear.identity.internal import minting
from switchgear.identity.jwks import KeySet
from switchgear.identity.revocations import Revocations
from switchgear.identity.tokens import TokenSettings, Verified, Verifier, recalling
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["trusting"]

_SOON: Final = 0.5  # seconds until the keys are asked for again while there are none
_SURE: Final = 10  # times that they are asked for until it is told that there are none


@asynccontextmanager
async def trusting(context: RoleContext, accounts: Upstream | None) -> AsyncIterator[Trust]:
    """Build what proves callers to the gateway and the gateway to services.

    While it is entered, the keys and the sessions that have ended are asked for regularly. Without
    accounts (a mounted application signs its own users in) no token is ours to believe.
    """
    tokens = internal_tokens(context)
    mint = minting(tokens, time.time)
    if accounts is None:
        yield Trust(lambda _: None, _nobody, mint)
        return
    settings = context.settings
    ask = asking(accounts, KEYS, tokens, "keys")
    keys = KeySet(lambda: ask(""))
    revocations = Revocations()
    ended = EndedSessions(
        asking(accounts, ENDED, tokens, "ended"),
        revocations,
        context.log,
        settings.gateway.leeway,
    )
    verifier = Verifier(
        keys,
        TokenSettings(
            issuer=settings.accounts.issuer,
            audience=settings.accounts.audience,
            leeway=settings.gateway.leeway,
            memory=settings.gateway.token_cache,
        ),
        revocations,
    )

    async def authenticate(token: str) -> Verified:
        return await verifier.inspect(token, time.time())

    tasks = [
        asyncio.create_task(_refreshed(context, keys)),
        asyncio.create_task(ended.follow(settings.gateway.ended_every)),
    ]
    try:
        yield Trust(recalling(verifier, time.time), authenticate, mint, revocations)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await keys.close()


async def _nobody(token: str) -> Verified:
    raise Fault(Code.UNAUTHENTICATED, "this system has no accounts", effect=Effect.NONE)


async def _refreshed(context: RoleContext, keys: KeySet) -> None:
    """Ask for the keys again and again, so that tokens of a withdrawn one end.

    Often until there are any: accounts are slower to start than we are, and what a token asks for
    too early is not asked for again within a while.
    """
    every = context.settings.gateway.keys_every
    known, failed = False, 0
    while True:
        try:
            await keys.refresh()
            known = True
        except Fault as fault:  # those that are known go on serving
            failed += 1
            if known or failed == _SURE:
                context.log.warning("the keys were not refreshed", detail=fault.detail)
        await asyncio.sleep(every if known else min(every, _SOON))
