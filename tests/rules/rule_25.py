"""Rule 25: informational answers, answers without a body, and cuts."""

from collections.abc import AsyncIterator
from typing import Any

from switchgear.http.message import Response, StreamResponse
from switchgear.http.stream import Body
from switchgear.policy.call import Call
from tests.rules.entry import BREAK, BYE, Await, Entry, Pause, Serve, Steps, head, plain

__all__ = ["ENTRIES"]

GET = b"GET / HTTP/1.1"
OK = b"HTTP/1.1 200 OK\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\n"
EXPECT = b"Expect: 100-continue"
ASK = head(b"POST / HTTP/1.1", b"Content-Length: 1") + b"x"
ASKED = plain(b"/", b"content-length: 1", method=b"POST") + b"x"
POSTED = plain(b"/", b"content-length: 5", method=b"POST") + b"hello"


async def _two(cut: bool) -> AsyncIterator[bytes]:
    yield b"he"
    if cut:
        raise ConnectionError("the source has gone")
    yield b"llo"


def flowing(length: int | None = None, *, cut: bool = False, status: int = 200) -> Serve:
    async def handler(call: Call[Any]) -> Response:
        return StreamResponse.of(_two(cut), status, length=length)

    return handler


def whole(status: int) -> Serve:
    async def handler(call: Call[Any]) -> Response:
        return Response(status, body=b"hello")

    return handler


async def _echoed(body: Body) -> AsyncIterator[bytes]:
    yield b"got:"
    async for part in body:
        yield part


async def late(call: Call[Any]) -> Response:
    """Begin the answer, and only then read."""
    return StreamResponse.of(_echoed(call.payload.body))


async def mirror(call: Call[Any]) -> Response:
    return StreamResponse(200, body=call.payload.body)


def alone(clause: str, sent: Steps, answer: str, handler: Serve, **more: Any) -> Entry:
    return Entry(25, clause, sent, answer, serve=handler, **more)


def through(
    clause: str, sent: Steps, answer: str, said: Steps, forwarded: bytes, **more: Any
) -> Entry:
    return Entry(25, clause, sent, answer, forwarded, upstream=(said,), **more)


ENTRIES = [
    # 100 Continue
    Entry(25, "a client that waits is asked for its body, once",
          (head(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5"), Await(CONTINUE), b"he",
           Pause(0.02), b"llo"),
          "100 200, kept", POSTED),
    Entry(25, "a client that waits with chunks is asked for them, once",
          (head(b"POST / HTTP/1.1", EXPECT, b"Transfer-Encoding: chunked"), Await(CONTINUE),
           b"5\r\nhello\r\n0\r\n\r\n"),
          "100 200, kept",
          plain(b"/", b"transfer-encoding: chunked", method=b"POST") + b"5\r\nhello\r\n0\r\n\r\n"),
    Entry(25, "the word in other letters",
          (head(b"POST / HTTP/1.1", b"eXPECT: 100-CONTINUE", b"Content-Length: 5"),
           Await(CONTINUE), b"hello"),
          "100 200, kept", POSTED),
    Entry(25, "a client that did not wait is not asked",
          head(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5") + b"hello", "200, kept", POSTED),
    Entry(25, "a client without a body is not asked", head(GET, EXPECT), "200, kept", plain()),
    Entry(25, "a client of HTTP/1.0 is not asked",
          (head(b"POST / HTTP/1.0", EXPECT, b"Content-Length: 5"), Pause(0.05), b"hello"),
          "200, closed", POSTED),
    Entry(25, "a body that is too long is refused, and not asked for",
          head(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 1048577"),
          "413 body-too-large, closed", b""),
    alone("a client whose answer has begun is not asked amid it",
          (head(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5"), Await(b"got:"), Pause(0.05),
           b"hello"),
          "200, closed", late, body=b"got:hello", lacks=b"100 Continue"),
    alone("a client that waits is asked before its own body is its answer",
          (head(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5"), Await(CONTINUE), b"hello"),
          "100 200, closed", mirror, body=b"hello"),
    Entry(25, "an expectation that nobody knows", head(GET, b"Expect: 200-ok"),
          "417 expectation, closed", b""),
    Entry(25, "two expectations", head(GET, b"Expect: 100-continue", b"Expect: 100-continue"),
          "400 expect, closed", b""),
    Entry(25, "two expectations in one line", head(GET, b"Expect: 100-continue, x"),
          "417 expectation, closed", b""),
    through("an upstream's 100 stays with us", head(GET), "200, kept",
            CONTINUE + OK + b"Content-Length: 2\r\n\r\nok", plain()),
    through("an upstream's early hint goes on, its links alone", head(GET), "103 200, kept",
            HINT + b"Link: </x>\r\nA: b\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", plain(),
            has=b"103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200"),
    through("hints go on each for itself, on a kept connection, too",
            head(GET) + head(GET), "103 103 200 103 103 200, kept",
            HINT + b"Link: </x>\r\n\r\n" + HINT + b"Link: </y>\r\n\r\n" + OK
            + b"Content-Length: 2\r\n\r\nok", plain() + plain()),
    through("a hint of nothing stays with us", head(GET), "200, kept",
            HINT + b"A: b\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", plain()),
    through("a hint does not reach a client of HTTP/1.0", head(b"GET / HTTP/1.0"), "200, closed",
            HINT + b"Link: </x>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", plain()),
    through("a 102 stays with us", head(GET), "200, kept",
            b"HTTP/1.1 102 Processing\r\nLink: </x>\r\n\r\n" + OK
            + b"Content-Length: 2\r\n\r\nok", plain()),
    through("an upstream's 100 does not reach a client of HTTP/1.0", head(b"GET / HTTP/1.0"),
            "200, closed", CONTINUE + OK + b"Content-Length: 2\r\n\r\nok", plain()),
    # Without a body
    through("HEAD has the length of GET and no body", head(b"HEAD / HTTP/1.1"), "200, kept",
            OK + b"Content-Length: 5\r\n\r\n", plain(method=b"HEAD"),
            got=b"content-length: 5\r\n\r\n"),
    through("HEAD of what comes in chunks", head(b"HEAD / HTTP/1.1"), "200, kept",
            OK + b"Transfer-Encoding: chunked\r\n\r\n", plain(method=b"HEAD"), again=True),
    Entry(25, "HEAD that is refused has no body", head(b"HEAD / HTTP/1.1", host=b""),
          "400, closed", b"", lacks=b"{"),
    Entry(25, "HEAD whose body breaks has no body",
          head(b"HEAD / HTTP/1.1", b"Transfer-Encoding: chunked") + b"no size\r\n",
          "400, closed", b"", lacks=b"{"),
    through("204 has no body", head(GET), "204, kept", b"HTTP/1.1 204 No Content\r\n\r\n",
            plain(), again=True),
    through("304 has no body, whatever length it tells", head(GET), "304, kept",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", plain(), again=True),
    through("205 has a body of no bytes", head(GET), "205, kept",
            b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", plain(), again=True),
    alone("a handler's body behind 204 is not sent", head(GET), "204, kept", whole(204)),
    alone("a handler's body behind 304 is not sent", head(GET), "304, kept", whole(304)),
    alone("a handler's body behind HEAD is not sent", head(b"HEAD / HTTP/1.1"), "200, kept",
          whole(200)),
    alone("a handler's stream behind 204 is not sent", head(GET), "204, kept",
          flowing(status=204)),
    alone("a handler's stream behind HEAD is not sent", head(b"HEAD / HTTP/1.1"), "200, kept",
          flowing()),
    alone("a handler gives no informational answer", head(GET), "500, kept", whole(103)),
    # HTTP/1.0
    alone("a stream to HTTP/1.0 has no chunks, and ends with the connection",
          head(b"GET / HTTP/1.0"), "200, closed", flowing(), body=b"hello"),
    alone("a stream to HTTP/1.0 that keeps alive all the same",
          head(b"GET / HTTP/1.0", b"Connection: keep-alive"), "200, closed", flowing(),
          body=b"hello"),
    alone("a whole answer to HTTP/1.0 that keeps alive",
          head(b"GET / HTTP/1.0", b"Connection: keep-alive"), "200, kept", whole(200),
          body=b"hello"),
    through("an upstream's chunks reach HTTP/1.0 without them", head(b"GET / HTTP/1.0"),
            "200, closed",
            (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", Pause(0.05),
             b"3\r\nllo\r\n0\r\n\r\n"), plain(), body=b"hello"),
    through("an upstream's cut reaches HTTP/1.0 as a reset", head(b"GET / HTTP/1.0"),
            "200, reset",
            (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", Pause(0.05), BYE), plain()),
    # Cuts
    alone("a stream that fails is cut", head(GET), "200 cut, reset", flowing(cut=True)),
    alone("a stream that fails is cut before its length", head(GET), "200 cut, reset",
          flowing(5, cut=True)),
    alone("a stream shorter than it said is cut", head(GET), "200 cut, reset", flowing(9)),
    alone("a stream longer than it said is cut", head(GET), "200 cut, reset", flowing(3)),
    alone("a stream that fails is cut for HTTP/1.0, too", head(b"GET / HTTP/1.0"), "200, reset",
          flowing(cut=True)),
    through("an upstream's close amid a body is a cut", head(GET), "200 cut, reset",
            (OK + b"Content-Length: 5\r\n\r\nhe", Pause(0.05), BYE), plain()),
    through("an upstream's reset amid a body is a cut", head(GET), "200 cut, reset",
            (OK + b"Content-Length: 5\r\n\r\nhe", Pause(0.05), BREAK), plain()),
    through("an upstream's chunks without their last are a cut", head(GET), "200 cut, reset",
            (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", Pause(0.05), BYE), plain()),
    through("a cut before the first byte of a body is a cut", ASK, "200 cut, reset",
            (OK + b"Content-Length: 5\r\n\r\n", Pause(0.05), BYE), ASKED),
]  # fmt: skip
