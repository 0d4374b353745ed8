"""Lasting: calls that may be tried again because their service knows them by a key.

A POST is tried once where nobody knows what became of it. One with an idempotency key is done once
however often it is sent, on a route whose service records outcomes: so the lane may send it again.
"""

from msgspec.structs import replace

from switchgear.http.message import Request
from switchgear.http.methods import IDEMPOTENCY_KEY
from switchgear.http.stream import Whole
from switchgear.policy.call import Call

__all__ = ["attempted", "lasting"]


def lasting(call: Call[Request]) -> Call[Request]:
    """Let a call of a keyed route be tried again, if it has a key and is all here."""
    request = call.payload
    if isinstance(request.body, Whole) and request.headers.get(IDEMPOTENCY_KEY) is not None:
        return replace(call, repeatable=True)
    return call


def attempted(call: Call[Request]) -> Call[Request]:
    """Return a call of a keyed route as each attempt makes it: with all the time that there is.

    What is repeatable by its method gets a part of it: a GET that takes long is likely to hang, and
    a POST may take its time.
    """
    return replace(call, repeatable=False) if call.repeatable else call
