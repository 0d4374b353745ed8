"""The intake of a service: only what a gateway vouches for becomes a call."""

import time
from collections.abc import Callable
from typing import Final

from switchgear.http.message import Request
from switchgear.identity.internal import InternalTokens
from switchgear.policy.call import Call, Trace
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["Intake"]

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
MARGIN: Final = 0.95  # the share of its caller's time that a service uses: its answer must travel


class Intake:
    """Make the call of each request from what the gateway says: principal, deadline, trace.

    A request without the gateway's token is refused, wherever it comes from. `longest` bounds
    the deadline when the gateway names none.
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
        headers = request.headers
        token = headers.get("switchgear-token")
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
            headers.get("x-request-id") or "",
            self._wall(),
        )
        left = headers.get("switchgear-deadline-ms")
        known = left is not None and left.isascii() and left.isdigit() and len(left) < 10
        seconds = int(left) / 1000 * MARGIN if known and left is not None else self._longest
        return Call(
            request,
            now + min(seconds, self._longest),
            repeatable=request.method in _REPEATABLE,
            priority=9 if vouched.exempt else 5,
            principal=vouched.principal,
            trace=_trace(headers.get("traceparent")),
        )


def _trace(traceparent: str | None) -> Trace | None:
    """Read what our own gateway wrote."""
    if traceparent is None or len(traceparent) != 55:
        return None
    return Trace(traceparent[3:35], traceparent[36:52], traceparent[53:] == "01")
