"""Problems: faults as HTTP answers, and back; which status means what says `policy/status.py`.

Outwards a fault becomes a status and an RFC 9457 document that says nothing internal. Between
our own hops the same answer carries the whole fault in the header `switchgear-fault`; the edge
drops every `switchgear-*` header, so that dropping it is all that the boundary has to do. Where a
peer might be somebody else's, the header is sealed: `believed` keeps what one of ours has
written, and leaves of any other answer what a stranger's says, its status.
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from math import ceil, isfinite
from typing import Any, Final

import msgspec

from switchgear.core.handler import Judge
from switchgear.http.headers import Headers
from switchgear.http.message import Response
from switchgear.policy.codec import decode, encode, public_form
from switchgear.policy.fault import Fault
from switchgear.policy.phrases import phrase
from switchgear.policy.status import (
    code_of_status,
    effect_of_status,
    http_status,
    seconds_of,
    verdict_of_status,
)
from switchgear.policy.verdict import GOOD, Verdict, judge

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

_encode: Final = msgspec.json.Encoder().encode
_SOON: Final = 1.0  # seconds, where what refused did not say for how long
_METHOD: Final = re.compile(r"[A-Z][A-Z0-9_-]*")


def problem(fault: Fault) -> Response:
    """Answer a stranger with a fault: status, public sentence, `extra`; nothing internal.

    Source: RFC 9457; Retry-After and WWW-Authenticate as RFC 9110 wants them.
    """
    status = http_status(fault)
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _phrase(status),
        "status": status,
    }
    for member, value in public_form(fault).items():
        body.setdefault(member, value)
    headers = [("content-type", "application/problem+json")]
    after = fault.retry_after
    if after is None and fault.refusal is not None and status == HTTPStatus.SERVICE_UNAVAILABLE:
        after = body["retry_after"] = _SOON
    if after is not None and isfinite(after):
        headers.append(("retry-after", str(max(0, ceil(after)))))
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append(("www-authenticate", "Bearer"))
    if status == HTTPStatus.UPGRADE_REQUIRED:  # RFC 6455 section 4.4
        headers.append(("sec-websocket-version", "13"))
    allow = fault.extra.get("allow")
    if isinstance(allow, (list, tuple)):
        # It may have come from another hop: what is no method must not break the answer.
        named = [one for one in allow if isinstance(one, str) and _METHOD.fullmatch(one)]
        headers.append(("allow", ", ".join(named)))
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
    status = response.status
    code = code_of_status(status)
    if code is None:
        return None
    if trusted and (within := _within(response.headers)) is not None:
        within.origin = within.origin or origin
        within.extra = {**within.extra, "status": status}
        return within
    return Fault(
        code,
        f"{origin or 'the upstream'} answered {status}",
        effect=effect_of_status(status),
        retry_after=retry_after(response.headers),
        origin=origin,
        extra={"status": status},
    )


def judging(*, trusted: bool) -> Judge:
    """Make the judge of answers that were returned (rule 7).

    It is judged by its status, as `by_status` judges anybody's answers. What a `trusted` peer
    declares to be a refusal, or to have come from farther away, is NEUTRAL.
    """

    def look(response: Response) -> Verdict:
        status = response.status
        if status < 400:
            return GOOD
        if trusted and (within := _within(response.headers)) is not None:
            return judge(within)
        return verdict_of_status(status, retry_after(response.headers))

    return look


def retry_after(headers: Headers) -> float | None:
    """Read Retry-After in its form of seconds; a date is not believed (clocks differ)."""
    return seconds_of(headers.get("retry-after"))


def _within(headers: Headers) -> Fault | None:
    value = headers.get(FAULT_HEADER)
    return None if value is None else decode(value)


def _phrase(status: int) -> str:
    try:
        return phrase(status)
    except ValueError:
        return "Client Closed Request" if status == 499 else "Error"
