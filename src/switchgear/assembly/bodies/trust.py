"""How a gateway proves who calls: by the keys that accounts publish, fetched as by any client."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from switchgear.assembly.bodies.web import internal_tokens
from switchgear.assembly.roles import RoleContext
from switchgear.assembly.routes import ACCOUNTS
from switchgear.core.clock import FINE
from switchgear.gateway.door import Trust
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Upstream
from switchgear.http.headers import Headers
from switchgear.http.message import Request
from switchgear.identity.internal import InternalTokens, Vouched
from switchgear.identity.jwks import KeySet
from switchgear.identity.tokens import TokenSettings, Verifier
from switchgear.policy.call import Call, Principal
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["trust_of"]

_KEYS: Final = RouteEntry("GET", "/.well-known/jwks.json", ACCOUNTS, deadline=2.0)
_KEYS_BYTES: Final = 64 << 10


def trust_of(context: RoleContext, accounts: Upstream | None) -> Trust:
    """Build what proves callers to the gateway and the gateway to services.

    Without accounts (a mounted application signs its own users in) no token is ours to believe.
    """
    tokens = internal_tokens(context)

    def mint(
        service: str, method: str, path: str, request_id: str, principal: Principal | None
    ) -> str:
        return tokens.mint(Vouched(principal), service, method, path, request_id, time.time())

    if accounts is None:
        return Trust(lambda _: None, _nobody, mint)
    settings = context.settings
    verifier = Verifier(
        KeySet(_fetching(accounts, tokens)),
        TokenSettings(
            issuer=settings.accounts.issuer,
            audience=settings.accounts.audience,
            leeway=settings.gateway.leeway,
            memory=settings.gateway.token_cache,
        ),
    )

    def known(token: str) -> Principal | None:
        found = verifier.known(token, time.time())
        return None if found is None else found.principal

    async def authenticate(token: str) -> Principal:
        return await verifier.verify(token, time.time())

    return Trust(known, authenticate, mint)


async def _nobody(token: str) -> Principal:
    raise Fault(Code.UNAUTHENTICATED, "this system has no accounts", effect=Effect.NONE)


def _fetching(accounts: Upstream, tokens: InternalTokens) -> Callable[[], Awaitable[bytes]]:
    lane = accounts.lane(_KEYS)

    async def fetch() -> bytes:
        token = tokens.mint(Vouched(), ACCOUNTS, "GET", _KEYS.path, "keys", time.time())
        headers = Headers({"x-request-id": "keys", "switchgear-token": token})
        request = Request.of("GET", _KEYS.path, headers=headers)
        answer = await lane.run(Call(request, FINE() + _KEYS.deadline, repeatable=True))
        body = await answer.read(_KEYS_BYTES)
        if answer.status != 200:
            raise Fault(Code.UNAVAILABLE, f"accounts answered {answer.status} for its keys")
        return body

    return fetch
