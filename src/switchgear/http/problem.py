"""Problems: the one table between faults and HTTP, in both directions.

Outwards a fault becomes a status and an RFC 9457 document that says nothing internal. Between
our own hops the same answer carries the whole fault in the header `switchgear-fault`; the edge
drops every `switchgear-*` header, so that dropping it is all that the boundary has to do. Where a
peer might be somebody else's, the header is sealed: `believed` keeps what one of ours has
written, and leaves of any other answer what a stranger's says, its status.
"""

from collections.abc import Callable
from http import HTTPStatus
from math import ceil, isfinite
from typing import Any, Final

import msgspec

from switchgear.core.handler import Judge
from switchgear.http.headers import Headers
from switchgear.http.message import Response
from switchgear.http.refusals import status_of
from switchgear.policy.codec import decode, encode, public_form
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.verdict import BAD, BAD_AGAIN, GOOD, Verdict, judge

__all__ = [
    "FAULT_HEADER",
    "Seal",
    "Unseal",
    "believed",
    "fault_of",
    "judging",
    "problem",
    "problem_within",
    "retry_after",
]

FAULT_HEADER: Final = "switchgear-fault"

Seal = Callable[[str], str]
"""Seals a text of printable ASCII as one of ours."""

Unseal = Callable[[str], str | None]
"""Returns the text that one of ours has sealed, or None. It never fails."""

STATUS: Final = {
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 409,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}

_CODE: Final = {
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    405: Code.UNIMPLEMENTED,
    408: Code.DEADLINE_EXCEEDED,
    409: Code.ABORTED,
    410: Code.NOT_FOUND,
    412: Code.FAILED_PRECONDITION,
    416: Code.OUT_OF_RANGE,
    425: Code.UNAVAILABLE,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    500: Code.INTERNAL,
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}

_encode: Final = msgspec.json.Encoder().encode


def problem(fault: Fault) -> Response:
    """Answer a stranger with a fault: status, public sentence, `extra`; nothing internal.

    Source: RFC 9457; Retry-After and WWW-Authenticate as RFC 9110 wants them.
    """
    # A document that was read and is wrong in places is 422; one that cannot be read is 400.
    status = status_of(fault) or (422 if "errors" in fault.extra else STATUS[fault.code])
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _phrase(status),
        "status": status,
    }
    for member, value in public_form(fault).items():
        body.setdefault(member, value)
    headers = [("content-type", "application/problem+json")]
    if fault.retry_after is not None and isfinite(fault.retry_after):
        headers.append(("retry-after", str(max(0, ceil(fault.retry_after)))))
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append(("www-authenticate", "Bearer"))
    allow = fault.extra.get("allow")
    if isinstance(allow, (list, tuple)):
        headers.append(("allow", ", ".join(map(str, allow))))
    return Response(status, Headers(headers), _encode(body))


def problem_within(fault: Fault, hop: str, seal: Seal | None = None) -> Response:
    """Answer one of our own hops with a fault, all of it. `hop` names the service that answers.

    A fault that arose here gets `hop` as its origin; one that is passed on gets it as a hop.
    Without a `seal` it is for peers who know by the connection that we are one of theirs.
    """
    passed_on = bool(fault.origin) and fault.origin != hop
    within = encode(
        Fault(
            fault.code,
            fault.detail,
            effect=fault.effect,
            refusal=fault.refusal,
            retry_after=fault.retry_after,
            origin=fault.origin or hop,
            hops=(*fault.hops, hop) if passed_on else fault.hops,
            public=fault.public,
            extra=fault.extra,
        )
    )
    answer = problem(fault)
    written = within if seal is None else seal(within)
    answer.headers = answer.headers.also({FAULT_HEADER: written})
    return answer


def believed(answer: Response, unseal: Unseal) -> Response:
    """Keep the fault that an answer carries if one of ours has sealed it, and drop it if not.

    From here on the header can be trusted. Else whoever sits where a service should could say that
    nothing was done (and have a payment made twice), or that its failures are refusals (and keep
    every breaker closed).
    """
    written = answer.headers.get(FAULT_HEADER)
    if written is not None:
        text = unseal(written)
        kept = answer.headers.without(FAULT_HEADER)
        answer.headers = kept if text is None else kept.also({FAULT_HEADER: text})
    return answer


def fault_of(response: Response, origin: str = "", *, trusted: bool = False) -> Fault | None:
    """Read an answer of 400 or more back into a fault; None for any other answer.

    Only a `trusted` peer, one of our own hops, is believed about effect, refusal and hops.
    """
    if response.status < 400:
        return None
    if trusted and (within := _within(response.headers)) is not None:
        within.origin = within.origin or origin
        within.extra = {**within.extra, "status": response.status}
        return within
    status = response.status
    answered = status < 500 and status not in (408, 425, 429, 499)
    return Fault(
        _CODE.get(status, Code.INVALID_ARGUMENT if status < 500 else Code.UNKNOWN),
        f"{origin or 'the upstream'} answered {status}",
        effect=Effect.NONE if answered else Effect.UNKNOWN,
        retry_after=retry_after(response.headers),
        origin=origin,
        extra={"status": status},
    )


def judging(*, trusted: bool) -> Judge:
    """Make the judge of answers that were returned (rule 7).

    5xx, 408 and an unexplained 429 are BAD, any other answer is GOOD: it answered. What a
    `trusted` peer declares to be a refusal, or to have come from farther away, is NEUTRAL.
    """

    def look(response: Response) -> Verdict:
        status = response.status
        if status < 400:
            return GOOD
        if trusted and (within := _within(response.headers)) is not None:
            return judge(within)
        if status in (408, 429, 502, 503, 504):
            return BAD_AGAIN._replace(after=retry_after(response.headers))
        return BAD if status >= 500 else GOOD

    return look


def retry_after(headers: Headers) -> float | None:
    """Read Retry-After in its form of seconds; a date is not believed (clocks differ)."""
    value = headers.get("retry-after")
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 6:
        return None
    return float(value)


def _within(headers: Headers) -> Fault | None:
    value = headers.get(FAULT_HEADER)
    return None if value is None else decode(value)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request" if status == 499 else "Error"
