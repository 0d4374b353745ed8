"""Notes: what a gateway finds out of header fields, kept with them so that it is found out once.

Most clients send the same fields with every request of a connection, and most processes answer with
the same: who has read them before finds what was written then. What hangs on one request
alone (its id, its trace, how long it took) is never noted.
"""

import os
from secrets import token_hex
from typing import Final

from switchgear.gateway.forward import TRACING, outwards, plain_id
from switchgear.gateway.hurry import asked_for
from switchgear.http.headers import Headers
from switchgear.identity.tokens import bearer, digest_of
from switchgear.policy.call import Trace
from switchgear.policy.fault import Fault

__all__ = ["Inward", "Outward", "inward", "new_trace", "outward"]

_NEAR: Final = ("same-origin", "none")  # "none": nobody's page, but somebody's own hand
_SPARE = 128  # traces for which random digits are fetched at a time: each fetch asks the kernel


class Inward:
    """A client's fields: what they ask for, and the lines that go on to a service.

    `digest` is that of a bearer token. `lines` end where ours begin; a `tracestate` is not among
    them, because it hangs on whether the trace is continued. `afar`: a browser asks for a page of
    another origin. `plain`: none of all that, and no `via`.
    """

    __slots__ = ("afar", "asked", "digest", "host", "lines", "plain", "request_id", "traceparent")

    def __init__(self, headers: Headers) -> None:
        given = headers.get("x-request-id")
        self.traceparent = headers.get("traceparent")
        self.request_id = given if plain_id(given) else None
        self.asked = asked_for(headers)
        self.digest: bytes | None
        try:
            self.digest = digest_of(bearer(headers.get("authorization")))
        except Fault:
            self.digest = None
        self.host = headers.get("host")
        self.afar = _from_afar(headers)
        crossing = [pair for pair in headers.forwardable() if pair[0] not in TRACING]
        kept = Headers.parsed([pair for pair in crossing if pair[0] != "tracestate"], None)
        self.lines = kept.wire().decode("latin-1")
        self.plain = len(kept) == len(crossing) and "via" not in headers and not self.afar


def _from_afar(headers: Headers) -> bool:
    """Say whether a browser may be asking for a page of another origin.

    `Sec-Fetch-Site` is the browser's own word, which no page can change, and goes before `Origin`:
    that may be "null" for a page of this very host whose referrer policy has it so. A client that
    is no browser sends neither. Source: Fetch Metadata Request Headers, section 2.3.
    """
    site = headers.get("sec-fetch-site")
    if site is None:
        return headers.get("origin") is not None
    return site not in _NEAR


class Outward:
    """A service's fields: the lines that go to a client over `http`, and over `https`."""

    __slots__ = ("dated", "http", "https", "shared")

    def __init__(self, headers: Headers, *, shared: bool) -> None:
        plain = outwards(headers, [], secure=False, shared=shared)
        self.http = plain.wire()
        self.https = outwards(headers, [], secure=True, shared=shared).wire()
        self.dated = plain.dated
        self.shared = shared


def inward(headers: Headers) -> Inward:
    """Return the notes on a client's fields."""
    notes = headers.notes
    if isinstance(notes, Inward):
        return notes
    headers.notes = made = Inward(headers)
    return made


def outward(headers: Headers, *, shared: bool) -> Outward:
    """Return the notes on a service's fields, for a gateway that is `shared` by pages or not."""
    notes = headers.notes
    if isinstance(notes, Outward) and notes.shared is shared:
        return notes
    headers.notes = made = Outward(headers, shared=shared)
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
