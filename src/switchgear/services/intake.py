"""The intake of a service: only what a gateway vouches for becomes a call."""

import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from switchgear.http.headers import Headers
from switchgear.http.message import Request
from switchgear.http.methods import REPEATABLE
from switchgear.identity.internal import InternalTokens
from switchgear.policy.call import Call, Trace
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.remaining import read_remaining, shortened

__all__ = ["MARGIN", "Intake"]

MARGIN: Final = 0.95  # the share of its caller's time that a service uses: its answer must travel


class Intake:
    """Make the call of each request from what the gateway says: client, principal, deadline, trace.

    A request without the gateway's token is refused, wherever it comes from. What is between the
    gateway and us (the token, the deadline) goes no further: user code sees the client's
    request, with the client's own address and scheme. `longest` bounds the deadline when the
    gateway names none.
    """

    def __init__(
        self,
        tokens: InternalTokens,
        service: str,
        *,
        longest: float = 300.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._service = service
        self._longest = longest
        self._wall = wall

    def __call__(self, request: Request, now: float) -> Call[Request]:
        """Make the call. Raises Fault (unauthenticated) for a request that no gateway sent."""
        field = request.headers.get
        token = field("switchgear-token")
        if token is None:
            raise Fault(
                Code.UNAUTHENTICATED,
                f"a request straight to {self._service}, without a gateway's token",
                effect=Effect.NONE,
                public="This service answers only through its gateway.",
            )
        vouched = self._tokens.verify(
            token,
            self._service,
            request.method,
            request.path,
            field("x-request-id") or "",
            self._wall(),
        )
        left = read_remaining(field, trusted=True)
        seconds = shortened(self._longest, None if left is None else left * MARGIN)
        kept = [pair for pair in request.headers if not pair[0].startswith("switchgear")]
        meant = replace(
            request,
            headers=Headers.parsed(kept, None),
            peer=field("x-forwarded-for") or request.peer,
            scheme=field("x-forwarded-proto") or request.scheme,
        )
        return Call(
            meant,
            now + seconds,
            repeatable=request.method in REPEATABLE,
            priority=9 if vouched.exempt else 5,
            principal=vouched.principal,
            trace=_trace(field("traceparent")),
        )


def _trace(traceparent: str | None) -> Trace | None:
    """Read what our own gateway wrote."""
    if traceparent is None or len(traceparent) != 55:
        return None
    return Trace(traceparent[3:35], traceparent[36:52], traceparent[53:] == "01")
