"""Rule 29: a process that goes away answers whole what had arrived."""

from typing import Any

from switchgear.http.settings import ServerSettings
from tests.rules.entry import AWAY, Await, Entry, Pause, Steps, head, plain

__all__ = ["ENTRIES"]

GET = head(b"GET / HTTP/1.1")
POST = head(b"POST / HTTP/1.1", b"Content-Length: 5")
POSTED = plain(b"/", b"content-length: 5", method=b"POST") + b"hello"
OK = b"HTTP/1.1 200 OK\r\n"
LATER: Steps = (Pause(0.3), OK + b"Content-Length: 2\r\n\r\nok")
CLOSE = b"\r\nconnection: close\r\n"


def away(clause: str, sent: Steps, answer: str, forwarded: bytes, **more: Any) -> Entry:
    return Entry(29, clause, sent, answer, forwarded, proxied=False, clean=True,
                 settings=ServerSettings(drain_grace=0.2), **more)  # fmt: skip


ENTRIES = [
    away("a request that is being answered", (GET, Pause(0.05), AWAY), "200, closed", plain(),
         upstream=(LATER,), has=CLOSE),
    away("requests that wait behind it", (GET * 3, Pause(0.05), AWAY), "200 200 200, closed",
         plain() * 3, upstream=(LATER,), has=CLOSE),
    away("an answer that has begun", (GET, Pause(0.1), AWAY), "200, closed", plain(),
         upstream=((OK + b"Content-Length: 2\r\n\r\no", Pause(0.3), b"k"),), body=b"ok"),
    away("a body that is on its way", (POST + b"he", Pause(0.05), AWAY, b"llo"), "200, closed",
         POSTED, has=CLOSE),
    away("a head that has begun to come", (GET[:9], Pause(0.05), AWAY, GET[9:]), "200, closed",
         plain(), has=CLOSE),
    away("a request on a connection that was idle for a moment only",
         (GET, Await(b"ok"), AWAY, GET), "200 200, closed", plain() * 2, has=CLOSE),
    away("a connection that says nothing more is closed", (GET, Await(b"ok"), AWAY), "200, closed",
         plain()),
    away("a connection that never said anything is closed", (Pause(0.05), AWAY), "closed", b""),
]  # fmt: skip
