"""Asking accounts: what a gateway wants to know of them for itself, as any client is answered."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from switchgear.assembly.routes import ACCOUNTS
from switchgear.core.clock import FINE
from switchgear.gateway.passage import NOBODY
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Upstream
from switchgear.http.headers import Headers
from switchgear.http.message import Request
from switchgear.identity.internal import InternalTokens
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault

__all__ = ["Ask", "asking"]

_WITHIN: Final = 1.8  # seconds: before the key set's own patience ends
_FIRST: Final = 9  # the priority, where clients wait for a place there
_BYTES: Final = 256 << 10

Ask = Callable[[str], Awaitable[bytes]]
"""Asks one route with a query, and returns the body of its answer. Raises a Fault."""


def asking(accounts: Upstream, route: RouteEntry, tokens: InternalTokens, name: str) -> Ask:
    """Return what asks a route of accounts; `name` is the id of every such request.

    No breaker stands before it: what was not heard of while accounts hung is to be heard of as soon
    as they answer again, and one question now and then is no load to spare them.
    """
    lane = accounts.lane(route, unbroken=True)

    async def ask(query: str) -> bytes:
        token = tokens.mint(NOBODY, ACCOUNTS, route.method, route.path, name, time.time())
        headers = Headers({"x-request-id": name, "switchgear-token": token})
        target = f"{route.path}?{query}" if query else route.path
        request = Request.of(route.method, target, headers=headers)
        until = FINE() + _WITHIN
        answer = await lane.run(Call(request, until, repeatable=True, key=name, priority=_FIRST))
        body = await answer.read(_BYTES)
        if answer.status != 200:
            raise Fault(Code.UNAVAILABLE, f"accounts answered {answer.status} for {route.name}")
        return body

    return ask
