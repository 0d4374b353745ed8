"""Lasting: calls that may be tried again because their service knows them by a key.

A POST is tried once where nobody knows what became of it. One with an idempotency key is done once
however often it is sent, on a route whose service records outcomes: so the lane may send it again.
"""

from typing import Final

from msgspec.structs import replace

from switchgear.http.message import Request
from switchgear.http.methods import IDEMPOTENCY_KEY
from switchgear.http.stream import Whole
from switchgear.policy.call import Call

__all__ = ["HELD", "attempted", "lasting", "may_last"]

HELD: Final = 64 << 10  # bytes of a body that are waited for, to be sent more than once


async def lasting(call: Call[Request]) -> Call[Request]:
    """Let a call of a keyed route be tried again, if it has a key and is all here.

    Many clients send a body behind its head, in a segment of its own: a small one is waited for.
    """
    request = call.payload
    length = request.body.length
    if not _has_key(request) or length is None or length > HELD:
        return call
    if not isinstance(request.body, Whole):
        body = Whole(await request.body.read(HELD))
        call = replace(call, payload=replace(request, body=body))
    return replace(call, repeatable=True)


def may_last(call: Call[Request]) -> Call[Request]:
    """Let a call of a keyed route be tried again whose first attempt took the express way.

    It is all here.
    """
    return replace(call, repeatable=True) if _has_key(call.payload) else call


def attempted(call: Call[Request]) -> Call[Request]:
    """Return a call of a keyed route as each attempt makes it: with all the time that there is.

    What is repeatable by its method gets a part of it: a GET that takes long is likely to hang, and
    a POST may take its time.
    """
    return replace(call, repeatable=False) if call.repeatable else call


def _has_key(request: Request) -> bool:
    return request.headers.get(IDEMPOTENCY_KEY) is not None
