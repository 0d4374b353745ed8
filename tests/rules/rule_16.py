"""Rule 16: who has left is worked for no longer, and who only ends what it sends has not left."""

from switchgear.http.settings import ServerSettings
from tests.rules.entry import BREAK, BYE, END, Await, Entry, Pause, Steps, head, plain

__all__ = ["ENTRIES"]

GET = head(b"GET / HTTP/1.1")
OLD = head(b"GET / HTTP/1.0")
OK = b"HTTP/1.1 200 OK\r\n"
LATER: Steps = (Pause(0.3), OK + b"Content-Length: 2\r\n\r\nok")
NEVER: Steps = (Await(b"what nobody sends"),)
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n"


def half(
    clause: str, sent: Steps, answer: str, said: Steps, forwarded: bytes = plain(),
    dropped: bool = False, **settings: float,
) -> Entry:  # fmt: skip
    return Entry(16, clause, sent, answer, forwarded, upstream=(said,), dropped=dropped,
                 settings=ServerSettings(half_close=settings.get("half_close", 0.2)))  # fmt: skip


ENTRIES = [
    half("who ends its half gets a quick answer", (GET, END), "200, closed",
         OK + b"Content-Length: 2\r\n\r\nok"),
    half("who ends its half and waits is asked, and gets its answer", (GET, END),
         "100 200, closed", LATER),
    half("so it is while its answer flows", (GET, END), "200, closed",
         (CHUNKED, Pause(0.12), b"1\r\nl\r\n", Pause(0.12), b"1\r\nl\r\n", Pause(0.12),
          b"1\r\no\r\n0\r\n\r\n")),
    half("all that was asked before the end is answered", (GET + GET, END),
         "100 200 100 200, closed", LATER, plain() * 2),
    half("the beginning of a head before the end is none", (GET + b"GET / HT", END),
         "100 200, closed", LATER),
    half("a client of HTTP/1.0 cannot be asked, and is waited for a while",
         (OLD, END), "200, closed", LATER, half_close=1.0),
    half("a client of HTTP/1.0 is not waited for longer than that", (OLD, END), "reset", NEVER,
         dropped=True),
    half("an answer that stands still is not either", (GET, END), "200 cut, reset",
         (CHUNKED, *NEVER), dropped=True),
    half("who has closed both halves is found out by being asked", (GET, BYE), "left", NEVER,
         dropped=True),
    half("who has closed both halves of HTTP/1.0 is found out by waiting", (OLD, BYE), "left",
         NEVER, dropped=True),
    half("who resets has left", (GET, Pause(0.1), BREAK), "left", NEVER, dropped=True),
    half("who leaves amid an answer has left", (GET, Await(b"he"), BYE), "left",
         (CHUNKED, *NEVER), dropped=True),
    half("who ends its half amid its own request has left",
         (head(b"POST / HTTP/1.1", b"Content-Length: 5") + b"he", Pause(0.05), END), "closed",
         NEVER, plain(b"/", b"content-length: 5", method=b"POST") + b"he<cut>"),
    half("where it is set to nothing, who ends its half has left",
         (GET, Pause(0.1), END), "closed", NEVER,
         dropped=True, half_close=0.0),
]  # fmt: skip
