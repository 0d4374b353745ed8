"""Rule 26: the slow are closed, and everybody has caps."""

from typing import Any

from switchgear.http.message import Response
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from tests.rules.entry import HOLD, READ, Await, Entry, Pause, Steps, head, plain

__all__ = ["ENTRIES"]

GET = head(b"GET / HTTP/1.1")
POST = head(b"POST / HTTP/1.1", b"Content-Length: 5")
BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n"
DRIPS: tuple[bytes | Pause, ...] = (b"a", Pause(0.05)) * 8
QUICK = ServerSettings(
    head_timeout=0.2, body_grace=0.2, body_rate=1000, write_timeout=0.3, idle_timeout=0.2
)


async def reads(call: Call[Any]) -> Response:
    return Response(200, body=await call.payload.body.read())


def slow(
    clause: str, sent: Steps, answer: str, forwarded: bytes | None = b"", **more: Any
) -> Entry:
    more.setdefault("settings", QUICK)
    return Entry(26, clause, sent, answer, forwarded, proxied=False, **more)


ENTRIES = [
    slow("a head that does not come", (b"GET / HTTP/1.1\r\nHost: a\r\n", Pause(0.4)),
         "408 head-timeout, closed"),
    slow("a head that drips",
         (b"GET / HTTP/1.1\r\nX: ", *DRIPS), "408 head-timeout, closed"),
    slow("a line that does not end", (b"GET /", Pause(0.4)), "408 head-timeout, closed"),
    slow("nothing at all", (Pause(0.4),), "closed"),
    slow("nothing after an answer", (GET, Await(b"ok"), Pause(0.5)), "200, closed", plain()),
    slow("an empty line and nothing more", (b"\r\n", Pause(0.4)), "closed"),
    slow("an empty line behind a request, and nothing more",
         (GET, Await(b"ok"), b"\r\n", Pause(0.5)), "200, closed", plain()),
    slow("a head that does not come behind an empty line",
         (b"\r\nGET / HTTP/1.1\r\n", Pause(0.4)), "408 head-timeout, closed"),
    slow("a body that does not come, before anything went on", (POST, Pause(0.6)),
         "408 body-timeout, closed",
         plain(b"/", b"content-length: 5", method=b"POST") + b"<cut>"),
    slow("a body that drips",
         (head(b"POST / HTTP/1.1", b"Content-Length: 500"), *DRIPS, *DRIPS),
         "408 body-timeout, closed", None, serve=reads),
    slow("a body that was asked for and does not come",
         (head(b"POST / HTTP/1.1", b"Content-Length: 5", b"Expect: 100-continue"), Pause(0.6)),
         "100 408 body-timeout, closed",
         plain(b"/", b"content-length: 5", method=b"POST") + b"<cut>"),
    slow("a reader who does not read is cut", (GET, HOLD, Pause(1.2), READ), "200 cut, reset",
         plain(), upstream=((BIG, b"a" * 40_000_000),), dropped=True),
    slow("a reader who reads on is not", (GET, HOLD, Pause(0.3), READ), "200, kept", plain(),
         upstream=((b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n", b"a" * 9_000_000),),
         settings=ServerSettings(write_timeout=5.0), patience=10.0),
    slow("no more connections than are allowed", b"", "503, closed",
         settings=ServerSettings(connections=0)),
    slow("no more connections of one address than are allowed", b"", "503, closed",
         settings=ServerSettings(connections_per_address=0)),
    slow("a body longer than it may be, that did not say so",
         (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked"),
          b"400\r\n" + b"a" * 1024 + b"\r\n" + b"400\r\n" + b"a" * 1024 + b"\r\n"),
         "413 body-too-large, closed", settings=ServerSettings(body_bytes=2000)),
    slow("chunks of a byte each, by the thousand",
         head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked") + b"1\r\na\r\n" * 9000,
         "400 chunk-too-small, closed", None, settings=ServerSettings(), serve=reads),
]  # fmt: skip
