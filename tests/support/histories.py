"""What clients ask and what processes do, of which histories of a whole gateway are made."""

from typing import Any

from switchgear.http.problem import FAULT_HEADER, problem_within
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from tests.support.wired import SEALS, WALL, token

__all__ = ["ASKED", "ENDS", "PLAIN"]

READER, WRITER, NOBODY = token("ada", "read"), token("bob", "read", "write"), token("cy")
KEYED = "idempotency-key: 7"
TRACED = "traceparent: 00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"
COOKIE = "cookie: a=1"


def bearing(text: str) -> str:
    return f"authorization: Bearer {text}"


# What clients ask: method, path, field lines, body. The pieces of a list come one by one.
ASKED: dict[str, tuple[str, str, tuple[str, ...], bytes | list[bytes]]] = {
    "open": ("GET", "/open", (), b""),
    "post": ("POST", "/open", (), b"{}"),
    "empty post": ("POST", "/open", ("content-length: 0",), b""),
    "put": ("PUT", "/open", ("content-type: text/plain",), b"whole"),
    "mine": ("GET", "/users/1", (bearing(READER),), b""),
    "write": ("POST", "/users", (bearing(WRITER),), b'{"name":1}'),
    "keyed": ("POST", "/users", (bearing(WRITER), KEYED), b'{"name":1}'),
    "keyed upload": (
        "POST",
        "/users",
        (bearing(WRITER), KEYED, "content-length: 6"),
        [b"abc", b"def"],
    ),
    "key of nobody's": ("POST", "/open", (KEYED,), b"{}"),
    "no token": ("GET", "/users/1", (), b""),
    "bad token": ("GET", "/users/1", (bearing(READER[:-4] + "AAAA"),), b""),
    "odd token": ("GET", "/users/1", ("authorization: Basic abc",), b""),
    "no scope": ("GET", "/users/1", (bearing(NOBODY),), b""),
    "head": ("HEAD", "/open", (), b""),
    "sign in": ("POST", "/sign-in", (), b"{}"),
    "shop": ("DELETE", "/shop/a//b", ("cookie: a=1", "cookie: b=2"), b""),
    "trace": ("TRACE", "/shop/a", (), b""),
    "nowhere": ("GET", "/nothing", (), b""),
    "wrong method": ("PUT", "/users", (), b""),
    "local": ("GET", "/health", (), b""),
    "own page": ("PUT", "/open", ("sec-fetch-site: same-origin", "origin: null", COOKIE), b"{}"),
    "by hand": ("GET", "/shop/a", ("sec-fetch-site: none", COOKIE), b""),
    "page": ("GET", "/open", ("sec-fetch-site: cross-site", "origin: https://b"), b""),
    "old page": ("POST", "/open", ("origin: http://a", COOKIE), b"{}"),
    "forged": ("POST", "/open", ("sec-fetch-site: cross-site", COOKIE), b"{}"),
    "old forged": ("PUT", "/shop/a", ("origin: https://b", COOKIE), b"{}"),
    "asks first": (
        "OPTIONS",
        "/open",
        ("origin: https://b", "access-control-request-method: PUT"),
        b"",
    ),
    "form": ("POST", "/shop/a", ("sec-fetch-site: same-site", "origin: https://b"), b"a=1"),
    "traced": ("GET", "/open", (TRACED, "tracestate: v=1"), b""),
    "continued": ("GET", "/open", (TRACED,), b""),
    "badly traced": ("GET", "/open", ("traceparent: 00-0-0-0", "tracestate: v=1"), b""),
    "named": ("GET", "/open", ("x-request-id: the-clients-0wn", "x_request_id: twin"), b""),
    "badly named": ("GET", "/open", ("x-request-id: no", "x-forwarded-for: 1.2.3.4"), b""),
    "via": ("GET", "/open", ("via: 1.1 proxy",), b""),
    "circle": ("GET", "/open", ("via: " + ", ".join(["1.1 switchgear"] * 8),), b""),
    "hurried": ("GET", "/open", ("grpc-timeout: 137m",), b""),
    "hurried post": ("POST", "/open", ("x-envoy-expected-rq-timeout-ms: 151",), b"{}"),
    "patient": ("GET", "/open", ("grpc-timeout: 90S",), b""),
    "nominating": ("GET", "/open", ("connection: x-own", "x-own: 1", "te: trailers"), b""),
    "odd bytes": ("GET", "/open", ("x-own: \xe9\t\xff", "switchgear-token: mine"), b""),
    "upload": ("POST", "/open", ("content-length: 6",), [b"abc", b"def"]),
    "chunked": ("PUT", "/open", ("transfer-encoding: chunked",), [b"3\r\nabc\r\n", b"0\r\n\r\n"]),
    "closing": ("GET", "/open", ("connection: close",), b""),
    "old": ("GET", "/open", (), b""),
}
# What takes the express way where nothing is amiss.
PLAIN = ("open", "post", "empty post", "put", "mine", "write", "keyed", "key of nobody's", "shop",
         "continued", "named", "badly named", "patient", "hurried", "own page", "by hand",
         "hurried post", "old", "nominating", "odd bytes", "closing")  # fmt: skip


def sealed(*given: Any, **more: Any) -> bytes:
    """Write a fault as one of our services answers with it."""
    answer = problem_within(Fault(*given, **more), "service", lambda text: SEALS.seal(text, WALL))
    head = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n" % (answer.status, len(answer.body))
    return head + answer.headers.wire() + b"\r\n" + bytes(answer.body)


def said(status: int, *lines: bytes, body: bytes = b"", length: int = -1) -> bytes:
    size = len(body) if length < 0 else length
    fields = [b"server: own", b"content-length: %d" % size, *lines]
    return b"HTTP/1.1 %d X\r\n" % status + b"\r\n".join(fields) + b"\r\n\r\n" + body


OK = said(200, b"content-type: application/json", b"switchgear-fault: {}", body=b'{"a":1}')
RESET = ConnectionResetError("reset")
BARE = b"HTTP/1.1 200 OK\r\ndate: now\r\n"
# What processes do: bytes, waits in seconds, and ends of the connection, seen or not.
ENDS: dict[str, tuple[bytes | float | str | Exception | None, ...]] = {
    "well": (0.0031, OK),
    "soon": (0.0211, OK),
    "page": (0.0031, said(200, b"content-type: text/html", b"date: now", body=b"<p>")),
    "cookie": (0.0031, said(201, b"set-cookie: a=1", b"via: 1.1 own", body=b"made")),
    "shares": (0.0031, said(200, b"access-control-allow-origin: *", b"x-own: 1")),
    "varies": (0.0031, said(200, b"vary: Accept", b"vary: Cookie", b"cross-origin-resource-policy: "
                            b"same-site")),
    "nothing": (0.0031, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "unchanged": (0.0031, b'HTTP/1.1 304 X\r\netag: "1"\r\n\r\n'),
    "moved": (0.0031, said(302, b"location: /b", b"switchgear-x: 1")),
    "missing": (0.0031, said(404, body=b"no")),
    "many": (0.0031, said(429)),
    "broken": (0.0031, said(500, body=b"oh")),
    "away": (0.0031, said(503, b"retry-after: 1", FAULT_HEADER.encode() + b": {}")),
    "sealed": (0.0031, sealed(Code.UNAVAILABLE, "no", effect=Effect.NONE, origin="service")),
    "shed": (0.0031, sealed(Code.UNAVAILABLE, "shed", refusal=Refusal.SHED, origin="far")),
    "under way": (0.0031, sealed(Code.ABORTED, "under way", effect=Effect.NONE, retry_after=0.21)),
    "late": (0.9531, sealed(Code.DEADLINE_EXCEEDED, "late", origin="service")),
    "hurried": (
        0.0531,
        sealed(Code.DEADLINE_EXCEEDED, "late", refusal=Refusal.HURRIED, origin="service"),
    ),
    "streamed": (0.0031, BARE + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", 0.0311,
                 b"3\r\ndef\r\n0\r\nx-t: 1\r\n\r\n"),
    "at once": (0.0031, BARE + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    "in two": (0.0031, OK[:40], 0.0113, OK[40:-3], 0.0113, OK[-3:]),
    "to the end": (0.0031, BARE + b"\r\nabc", 0.0113, b"def", None),
    "stream broken": (0.0031, BARE + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", RESET),
    "stream hangs": (0.0031, said(200, body=b"a", length=9)),
    "cut": (0.0031, said(200, body=b"half", length=8), None),
    "reset": (0.0031, RESET),
    "ended": (0.0031, None),
    "half a head": (0.0031, OK[:40], None),
    "hang": (),
    "slow": (0.8731, OK),
    "too late": (1.0071, OK),
    "after": (0.0031, OK + b"more"),
    "after it": (0.0031, OK, 0.0113, b"more"),
    "garbage": (0.0031, b"HTTP/1.1 200\rOK\r\n\r\n"),
    "hint": (0.0031, b"HTTP/1.1 103 X\r\nlink: a\r\n\r\n", 0.0113, OK),
    "goodbye": (0.0031, said(200, b"connection: close", body=b"bye"), None),
    "idle end": (0.0031, OK, 0.0113, None),
    "unseen end": (0.0031, OK, 0.0113, "unseen"),
}  # fmt: skip
