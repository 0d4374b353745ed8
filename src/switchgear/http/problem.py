"""Problems: the one table between faults and HTTP, in both directions.

Outwards a fault becomes a status and an RFC 9457 document that says nothing internal. Between
our own hops the same answer carries the whole fault in the header `switchgear-fault`; the edge
drops every `switchgear-*` header, so that dropping it is all that the boundary has to do.
"""

import json
from http import HTTPStatus
from math import ceil
from typing import Any, Final

import msgspec

from switchgear.core.handler import Judge
from switchgear.http.headers import Headers
from switchgear.http.message import Response
from switchgear.http.refusals import status_of
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.verdict import BAD, BAD_AGAIN, GOOD, Verdict, judge

__all__ = ["FAULT_HEADER", "fault_of", "judging", "problem", "problem_within", "retry_after"]

FAULT_HEADER: Final = "switchgear-fault"

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

_DETAIL_CHARS: Final = 512
_encode: Final = msgspec.json.Encoder().encode


class _Inner(msgspec.Struct):
    """What `switchgear-fault` carries."""

    code: Code
    detail: str = ""
    effect: Effect = Effect.UNKNOWN
    refusal: Refusal | None = None
    retry_after: float | None = None
    origin: str = ""
    hops: list[str] = []
    public: str | None = None


_read_inner: Final = msgspec.json.Decoder(_Inner).decode


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
        "code": fault.code.value,
        "detail": fault.public,
    }
    for member, value in fault.extra.items():
        body.setdefault(member, value)
    headers = [("content-type", "application/problem+json")]
    if fault.retry_after is not None:
        headers.append(("retry-after", str(max(0, ceil(fault.retry_after)))))
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append(("www-authenticate", "Bearer"))
    allow = fault.extra.get("allow")
    if isinstance(allow, (list, tuple)):
        headers.append(("allow", ", ".join(map(str, allow))))
    return Response(status, Headers(headers), _encode(body))


def problem_within(fault: Fault, hop: str) -> Response:
    """Answer one of our own hops with a fault, all of it. `hop` names the service that answers.

    A fault that arose here gets `hop` as its origin; one that is passed on gets it as a hop.
    """
    inner: dict[str, Any] = {
        "code": fault.code.value,
        "detail": fault.detail[:_DETAIL_CHARS],
        "effect": fault.effect.value,
        "refusal": fault.refusal.value if fault.refusal else None,
        "retry_after": fault.retry_after,
        "origin": fault.origin or hop,
        "hops": [*fault.hops, hop] if fault.origin and fault.origin != hop else [*fault.hops],
        "public": fault.public,
    }
    answer = problem(fault)
    # json, not msgspec: a header value has to be ASCII.
    answer.headers = answer.headers.also({FAULT_HEADER: json.dumps(inner)})
    return answer


def fault_of(response: Response, origin: str = "", *, trusted: bool = False) -> Fault | None:
    """Read an answer of 400 or more back into a fault; None for any other answer.

    Only a `trusted` peer, one of our own hops, is believed about effect, refusal and hops.
    """
    if response.status < 400:
        return None
    if trusted and (inner := _inner(response.headers)) is not None:
        return Fault(
            inner.code,
            inner.detail,
            effect=inner.effect,
            refusal=inner.refusal,
            retry_after=inner.retry_after,
            origin=inner.origin or origin,
            hops=tuple(inner.hops),
            public=inner.public,
            extra={"status": response.status},
        )
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
        if trusted and (inner := _inner(response.headers)) is not None:
            return judge(
                Fault(
                    inner.code,
                    refusal=inner.refusal,
                    retry_after=inner.retry_after,
                    hops=tuple(inner.hops),
                )
            )
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


def _inner(headers: Headers) -> _Inner | None:
    value = headers.get(FAULT_HEADER)
    if value is None:
        return None
    try:
        return _read_inner(value.encode("latin-1"))
    except msgspec.DecodeError:
        return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request" if status == 499 else "Error"
