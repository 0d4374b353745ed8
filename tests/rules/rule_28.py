"""Rule 28: what is pipelined is answered in order, one after the other."""

from typing import Any

from switchgear.http.message import Response
from switchgear.policy.call import Call
from tests.rules.entry import Entry, Pause, head, plain

__all__ = ["ENTRIES"]

A, B, C = (head(b"GET /%c HTTP/1.1" % name) for name in b"abc")
SEEN = plain(b"/a") + plain(b"/b") + plain(b"/c")


def said(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def post(target: bytes, size: int) -> bytes:
    return head(b"POST " + target + b" HTTP/1.1", b"Content-Length: %d" % size)


async def path(call: Call[Any]) -> Response:
    return Response(200, body=call.payload.path.encode())


MANY = [b"/%d" % number for number in range(500)]

ENTRIES = [
    Entry(28, "three at once are answered in order, the slow one first", A + B + C,
          "200 200 200, kept", SEEN, bodies=b"123",
          upstream=((Pause(0.1), said(b"1")), said(b"2"), said(b"3"))),
    Entry(28, "the next is not begun before the one before it is answered", A + B + C,
          "200 200 200, kept", SEEN, bodies=b"1223",
          upstream=(said(b"1"), (said(b"22")[:-1], Pause(0.1), b"2"), said(b"3"))),
    Entry(28, "500 at once", b"".join(head(b"GET " + one + b" HTTP/1.1") for one in MANY),
          " ".join(["200"] * 500) + ", kept", serve=path, bodies=b"".join(MANY)),
    Entry(28, "cut anywhere, they are the same",
          tuple(piece for at in range(0, len(A + B), 7)
                for piece in ((A + B)[at : at + 7], Pause(0.001))),
          "200 200, kept", plain(b"/a") + plain(b"/b")),
    Entry(28, "behind a body",
          head(b"POST /a HTTP/1.1", b"Content-Length: 5") + b"hello" + B, "200 200, kept",
          plain(b"/a", b"content-length: 5", method=b"POST") + b"hello" + plain(b"/b")),
    Entry(28, "behind a chunked body",
          head(b"POST /a HTTP/1.1", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n" + B,
          "200 200, kept",
          plain(b"/a", b"content-length: 5", method=b"POST") + b"hello" + plain(b"/b")),
    Entry(28, "an upload that begins while more waits than is read ahead",
          (A + post(b"/b", 30_000) + b"x" * 30_000 + post(b"/c", 300_000) + b"x" * 45_000,
           Pause(0.05), b"x" * 255_000),
          "200 200 200, kept", bodies=b"123",
          upstream=((Pause(0.2), said(b"1")), said(b"2"), said(b"3"))),
    Entry(28, "behind a request that closes nothing is read", head(b"GET /a HTTP/1.1",
          b"Connection: close") + B, "200, closed", plain(b"/a")),
    Entry(28, "behind HTTP/1.0 nothing is read", head(b"GET /a HTTP/1.0") + B, "200, closed",
          plain(b"/a")),
    Entry(28, "behind what is refused nothing is read", A + head(b"GET /x HTTP/1.1", host=b"") + B,
          "200 400 host, closed", plain(b"/a")),
    Entry(28, "behind a body that breaks nothing is read",
          A + head(b"POST /x HTTP/1.1", b"Transfer-Encoding: chunked") + b"x\r\n" + B,
          "200 400 chunk, closed", plain(b"/a")),
    Entry(28, "what is refused waits for its turn", A + b"\0\r\n\r\n",
          "200 400 request-line, closed", plain(b"/a"), upstream=((Pause(0.1), said(b"1")),),
          proxied=False),
]  # fmt: skip
