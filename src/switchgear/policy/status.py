"""Statuses: the one table between codes and HTTP statuses, in both directions.

A status is a number, and what it means is known without a message or a connection. So the edge,
the client, and a policy around anybody's HTTP client all read it here.
"""

from typing import Any, Final

from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.health import BAD, BAD_AGAIN, GOOD, Verdict

__all__ = [
    "STATUS",
    "by_status",
    "code_of_status",
    "effect_of_status",
    "http_status",
    "seconds_of",
    "status_in",
    "status_of",
    "verdict_of_status",
    "wait_in",
]

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

_AGAIN: Final = frozenset((408, 429, 502, 503, 504))
_UNSURE: Final = frozenset((408, 425, 429, 499))  # no answer to what was asked


def http_status(fault: Fault) -> int:
    """Return the HTTP status by which a fault is told to a client.

    It is the one that the fault insists on (a `status` in its `extra`), else its code's. A document
    that was read and is wrong in places is 422; one that cannot be read is 400.
    """
    return status_of(fault) or (422 if "errors" in fault.extra else STATUS[fault.code])


def status_of(fault: Fault) -> int | None:
    """Return the HTTP status that a fault insists on, if it does."""
    status = fault.extra.get("status")
    return status if isinstance(status, int) and 400 <= status <= 599 else None


def code_of_status(status: int) -> Code | None:
    """Return what a status of 400 or more is among the codes; None for one that is no failure."""
    if status < 400:
        return None
    return _CODE.get(status, Code.INVALID_ARGUMENT if status // 100 == 4 else Code.UNKNOWN)


def effect_of_status(status: int) -> Effect:
    """Say what may have been done of a request that was answered so.

    A server that says no has done nothing; one that failed, or waited in vain, may have.
    """
    refused = status // 100 == 4 and status not in _UNSURE
    return Effect.NONE if refused else Effect.UNKNOWN


def verdict_of_status(status: int, after: float | None = None) -> Verdict:
    """Judge the status of an answer that asks to be left alone for `after` seconds.

    5xx, 408 and a 429 that nothing explains are BAD; any other is GOOD, because the dependency
    answered: one that answers 404 is well. After a 500 or a 501 another attempt would end alike.
    """
    if status in _AGAIN:
        return BAD_AGAIN._replace(after=after)
    return BAD if status >= 500 else GOOD


def by_status(answer: object) -> Verdict:
    """Judge a response by its HTTP status: `Policy("web", judge=by_status)`.

    For code that does not call `raise_for_status`: the response of any client that bears its status
    in `status_code` or `status` (httpx, requests, aiohttp). Seconds of Retry-After are how long the
    next attempt waits. What bears no status is GOOD.
    """
    verdict = verdict_of_status(status_in(answer))
    return verdict._replace(after=wait_in(answer)) if verdict.again else verdict


def status_in(answer: Any) -> int:
    """Return the HTTP status that an object bears, 0 if it bears none. It never fails."""
    try:
        found = getattr(answer, "status_code", None)
        if not isinstance(found, int):
            found = getattr(answer, "status", None)
        return int(found) if isinstance(found, int) and 100 <= found <= 599 else 0
    except Exception:  # noqa: BLE001 - whatever a stranger's attribute does, it is no status
        return 0


def wait_in(answer: Any) -> float | None:
    """Return the seconds of Retry-After in the `headers` of an object, if any. It never fails."""
    try:
        found = answer.headers
        value = found.get("retry-after")
        return seconds_of(found.get("Retry-After") if value is None else value)
    except Exception:  # noqa: BLE001 - whatever a stranger's headers are, they ask for nothing
        return None


def seconds_of(value: object) -> float | None:
    """Read Retry-After in its form of seconds; a date is not believed (clocks differ)."""
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 6:
        return None
    return float(value)
