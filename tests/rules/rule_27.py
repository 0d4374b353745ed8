"""Rule 27: asked again only what does no harm twice, and only before an answer has begun."""

from typing import Any

from tests.rules.entry import BREAK, BYE, Await, Entry, Pause, Steps, head, plain

__all__ = ["ENTRIES"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def tried(
    clause: str, method: bytes, times: int, answer: str, *upstream: Steps, body: bytes = b"x",
    **more: Any,
) -> Entry:  # fmt: skip
    framed = [b"Content-Length: %d" % len(body)] if body else []
    sent = head(method + b" / HTTP/1.1", *framed) + body
    wire = plain(b"/", *[one.lower() for one in framed], method=method) + body
    return Entry(27, clause, sent, answer, wire * times, upstream=upstream, proxied=False, **more)


ENTRIES = [
    tried("GET is asked again where its connection was reset", b"GET", 2, "200, kept", (BREAK,),
          OK, body=b""),
    tried("GET is asked again where its connection was closed", b"GET", 2, "200, kept", (BYE,), OK,
          body=b""),
    tried("PUT is asked again, with its body", b"PUT", 2, "200, kept", (BREAK,), OK),
    tried("DELETE is asked again", b"DELETE", 2, "200, kept", (BREAK,), OK, body=b""),
    tried("POST is not", b"POST", 1, "502, kept", (BREAK,), OK),
    tried("PATCH is not", b"PATCH", 1, "502, kept", (BREAK,), OK),
    tried("a method that nobody knows is not", b"BREW", 1, "502, kept", (BREAK,), OK, body=b""),
    tried("GET is asked three times at most", b"GET", 3, "502, kept", (BREAK,), body=b""),
    tried("GET is asked again where the answer is 503", b"GET", 2, "200, kept", BUSY, OK, body=b""),
    tried("POST is not, where the answer is 503", b"POST", 1, "503, kept", BUSY, OK),
    tried("nothing is asked again once an answer has begun", b"GET", 1, "200 cut, reset",
          (OK[:-1], Pause(0.05), BREAK), OK, body=b""),
    Entry(27, "a body that is on its way cannot be sent twice",
          (head(b"PUT / HTTP/1.1", b"Content-Length: 2") + b"a", Pause(0.05), b"b"), "502, kept",
          plain(b"/", b"content-length: 2", method=b"PUT") + b"ab", upstream=((BREAK,), OK),
          proxied=False),
    Entry(27, "a kept connection that its upstream has closed is not asked",
          (head(b"GET / HTTP/1.1"), Await(b"ok"), Pause(0.05), head(b"POST / HTTP/1.1")),
          "200 200, kept", plain() + plain(b"/", b"content-length: 0", method=b"POST"),
          upstream=((OK, BYE), OK), proxied=False),
]  # fmt: skip
