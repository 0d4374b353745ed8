"""What crosses the gateway: which headers go in, which come out, and what we add."""

import re
from secrets import token_hex
from typing import Final

from switchgear.http.headers import Headers
from switchgear.http.message import Request
from switchgear.http.refusals import refuse
from switchgear.policy.call import Trace

__all__ = [
    "PROTECTIVE",
    "TRACING",
    "WHO",
    "hops_left",
    "inwards",
    "named_by",
    "outwards",
    "plain_id",
    "stripped",
    "trace_of",
]

# Source: OWASP HTTP Headers Cheat Sheet, for an API that serves no documents of its own.
PROTECTIVE: Final = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "geolocation=(), camera=(), microphone=()"),
)

_CSP: Final = "default-src 'none'; frame-ancestors 'none'"
# A page of a mounted application loads what it needs; it is framed by nobody all the same.
_CSP_PAGE: Final = "frame-ancestors 'none'; object-src 'none'; base-uri 'self'"
# A page that says no-referrer posts its forms with `Origin: null`, which is what applications, and
# we ourselves, know forged ones by; this is the same sheet's word for documents.
_PROTECTIVE_PAGE: Final = tuple(
    (name, "strict-origin-when-cross-origin" if name == "referrer-policy" else value)
    for name, value in PROTECTIVE
)
# What browsers run: workers live under the policy that their script came with.
_PAGES: Final = frozenset(
    {"text/html", "application/xhtml+xml", "text/javascript", "application/javascript"}
)
# Drawings are styled within, and run nothing: they are what strangers upload.
_DRAWING: Final = "image/svg+xml"
_CSP_DRAWING: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_NOBODY: Final = "frame-ancestors 'none'"
_ITSELF: Final = "frame-ancestors 'self'"
_HSTS: Final = ("strict-transport-security", "max-age=31536000; includeSubDomains")

# What tells an attacker which software to look up, and where.
_REVEALING: Final = frozenset(
    {
        "via",
        "server",
        "x-powered-by",
        "x-aspnet-version",
        "x-aspnetmvc-version",
        "x-generator",
        "x-runtime",
        "x-sourcemap",
        # what it is built of, and which of many it was
        "sourcemap",
        "x-backend-server",
        "x-debug-token",
        "x-debug-token-link",
        "x-php-version",
        "x-powered-cms",
        "x-served-by",
        "x-server",
        "x-sourcefiles",
    }
)
# What every answer has from us, and from us alone.
_OURS: Final = "x-request-id"

TRACING: Final = frozenset({"traceparent", "x-request-id"})
# How often a request may come by: gateways behind gateways are few, and a circle has no end.
_CIRCLE: Final = 8
WHO: Final = "switchgear"
_ZERO_TRACE: Final = "0" * 32
_ZERO_SPAN: Final = "0" * 16
_HEX: Final = frozenset("0123456789abcdef")
_HOPS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def trace_of(traceparent: str | None) -> Trace:
    """Continue a W3C trace with a span of our own, or begin one.

    Source: https://www.w3.org/TR/trace-context/#traceparent-header
    """
    if traceparent is not None and len(traceparent) >= 55:
        version, trace_id, parent, flags = (
            traceparent[:2],
            traceparent[3:35],
            traceparent[36:52],
            traceparent[53:55],
        )
        dashes = traceparent[2] == traceparent[35] == traceparent[52] == "-"
        exact = len(traceparent) == 55 or (version != "00" and traceparent[55] == "-")
        digits = _HEX.issuperset(version + trace_id + parent + flags)
        named = trace_id != _ZERO_TRACE and parent != _ZERO_SPAN
        if dashes and exact and digits and named and version != "ff":
            return Trace(trace_id, token_hex(8), bool(int(flags, 16) & 1))
    made = token_hex(24)  # both at once: each asks the kernel
    return Trace(made[:32], made[32:], sampled=True)


def plain_id(given: str | None) -> bool:
    """Say whether a client's request id is plain and short enough to be taken over."""
    if given is None or not 8 <= len(given) <= 64:
        return False
    return given.isascii() and given.replace("-", "").isalnum()


def named_by(trace: Trace) -> str:
    """Name a request by its span, where its client has not named it."""
    return f"{trace.trace_id[:16]}{trace.span_id}"


def inwards(request: Request, request_id: str, trace: Trace) -> list[tuple[str, str]]:
    """Return the fields that go to a service: the client's own, cleaned, and ours last.

    Raises Fault (508) for a request that goes round in a circle.
    """
    headers = request.headers
    fields = [pair for pair in headers.forwardable() if pair[0] not in TRACING]
    via = f"1.{request.minor} {WHO}"
    past = headers.get("via")
    if past is not None:
        fields = [pair for pair in fields if pair[0] != "via"]
        via = _continued(past, via)
    hops = hops_left(request)
    if hops is not None:
        fields = [pair for pair in fields if pair[0] != "max-forwards"]
        fields.append(("max-forwards", str(hops - 1)))
    # A vendor's notes belong to the trace that we did not continue.
    if (headers.get("traceparent") or "")[3:35] != trace.trace_id:
        fields = [pair for pair in fields if pair[0] != "tracestate"]
    flags = "01" if trace.sampled else "00"
    fields += (
        ("x-forwarded-for", request.peer),
        ("x-forwarded-host", headers.get("host") or ""),
        ("x-forwarded-proto", request.scheme),
        ("x-request-id", request_id),
        ("traceparent", f"00-{trace.trace_id}-{trace.span_id}-{flags}"),
        ("via", via),
    )
    return fields


def hops_left(request: Request) -> int | None:
    """Return by how many more hops an OPTIONS request may go; None where it does not say.

    Source: RFC 9110 section 7.6.2, which leaves out all other methods that are forwarded here.
    """
    said = request.headers.get("max-forwards") if request.method == "OPTIONS" else None
    return None if said is None or _HOPS.fullmatch(said) is None else int(said)


def _continued(past: str, via: str) -> str:
    """Return Via with ourselves added. Source: RFC 9110 section 7.6.3."""
    been = sum(hop.split()[1:2] == [WHO] for hop in past.split(","))
    if been >= _CIRCLE:
        raise refuse("loop", f"the request has come by here {been} times", status=508)
    return f"{past}, {via}"


def stripped(headers: Headers) -> list[tuple[str, str]]:
    """Return the fields that may leave: nothing internal, nothing revealing.

    Nor what `Connection` claims for the hop behind us: left there, it would claim what we add, too.
    """
    hop = {"connection", *headers.nominated()} if headers.get("connection") is not None else ()
    return [
        pair
        for pair in headers
        if pair[0] not in _REVEALING
        and pair[0] != _OURS
        and pair[0] not in hop
        and not pair[0].startswith("switchgear")
    ]


def outwards(
    headers: Headers, added: list[tuple[str, str]], *, secure: bool, shared: bool = False
) -> Headers:
    """Return the fields that go to the client: what may leave, ours where missing, and `added`.

    `secure` says that the client came over TLS, whoever ended it; `shared` that pages of listed
    origins may read, and that it is us who say so.
    """
    kept = stripped(headers)
    if shared:
        kept = _varying(kept)
    names = {name for name, _ in kept}
    if shared:  # a page that may read brings a policy of its own
        names.update(name for name, _ in added)
    kind = (headers.get("content-type") or "").partition(";")[0].strip().lower()
    page = kind in _PAGES
    kept += [pair for pair in (_PROTECTIVE_PAGE if page else PROTECTIVE) if pair[0] not in names]
    if "content-security-policy" not in names:
        policy = _CSP_PAGE if page else _CSP_DRAWING if kind == _DRAWING else _CSP
        if (headers.get("x-frame-options") or "").strip().lower() == "sameorigin":
            # To browsers, ours would outweigh the application's.
            policy = policy.replace(_NOBODY, _ITSELF)
        kept.append(("content-security-policy", policy))
    if secure and _HSTS[0] not in names:
        kept.append(_HSTS)
    kept += added
    return Headers.parsed(kept, None)


def _varying(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return fields as those of an answer that hangs on who asks, without what others say of that.

    Whoever asks: a copy that was kept of an answer to nobody's page would be given to a listed one,
    which could not read it. Source: Fetch, "CORS protocol and HTTP caches".
    """
    varies = ", ".join(value for name, value in fields if name == "vary" and value)
    kept = [
        pair for pair in fields if pair[0] != "vary" and not pair[0].startswith("access-control-")
    ]
    named = {one.strip().lower() for one in varies.split(",")}
    if named.isdisjoint(("*", "origin")):
        varies = f"{varies}, Origin" if varies else "Origin"
    kept.append(("vary", varies))
    return kept
