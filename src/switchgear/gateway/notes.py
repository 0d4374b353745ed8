"""Notes: what a gateway finds out of header fields, kept with them so that it is found out once.

Most clients send the same fields with every request of a connection, and most processes answer with
the same: who has read them before finds what was written then. What hangs on one request
alone (its id, its trace, how long it took) is never noted.
"""

import os
from secrets import token_hex

import msgspec

from switchgear.gateway.forward import TRACING, outwards, plain_id
from switchgear.gateway.hurry import asked_for
from switchgear.http.headers import Headers
from switchgear.identity.tokens import bearer, digest_of
from switchgear.policy.call import Trace
from switchgear.policy.fault import Fault

__all__ = ["Inward", "Outward", "inward", "new_trace", "outward"]

_SPARE = 128  # traces for which random digits are fetched at a time: each fetch asks the kernel


class Inward(msgspec.Struct, frozen=True):
    """A client's fields: what they ask for, and the lines that go on to a service.

    `digest` is that of a bearer token. `lines` end where ours begin; a `tracestate` is not among
    them, because it hangs on whether the trace is continued. `plain`: there is none, and no `via`.
    """

    traceparent: str | None
    request_id: str | None
    asked: float | None
    digest: bytes | None
    host: str | None
    lines: str
    plain: bool


class Outward(msgspec.Struct, frozen=True):
    """A service's fields: the lines that go to a client over `http`, and over `https`."""

    http: bytes
    https: bytes
    dated: bool


def inward(headers: Headers) -> Inward:
    """Return the notes on a client's fields."""
    notes = headers.notes
    if isinstance(notes, Inward):
        return notes
    given = headers.get("x-request-id")
    try:
        digest = digest_of(bearer(headers.get("authorization")))
    except Fault:
        digest = None
    crossing = [pair for pair in headers.forwardable() if pair[0] not in TRACING]
    kept = Headers.parsed([pair for pair in crossing if pair[0] != "tracestate"], None)
    headers.notes = made = Inward(
        headers.get("traceparent"),
        given if plain_id(given) else None,
        asked_for(headers),
        digest,
        headers.get("host"),
        kept.wire().decode("latin-1"),
        len(kept) == len(crossing) and "via" not in headers,
    )
    return made


def outward(headers: Headers) -> Outward:
    """Return the notes on a service's fields."""
    notes = headers.notes
    if isinstance(notes, Outward):
        return notes
    plain = outwards(headers, [], secure=False)
    headers.notes = made = Outward(
        plain.wire(), outwards(headers, [], secure=True).wire(), plain.dated
    )
    return made


class _Digits:
    """Random hex digits, fetched for many traces at once."""

    __slots__ = ("at", "text")

    def __init__(self) -> None:
        self.empty()
        os.register_at_fork(after_in_child=self.empty)  # no two processes may draw the same

    def empty(self) -> None:
        """Drop what was fetched."""
        self.text = ""
        self.at = 0


_digits = _Digits()


def new_trace() -> Trace:
    """Begin a trace."""
    digits, at = _digits, _digits.at
    if at >= len(digits.text):
        digits.text, at = token_hex(24 * _SPARE), 0
    digits.at = at + 48
    return Trace(digits.text[at : at + 32], digits.text[at + 32 : at + 48])
