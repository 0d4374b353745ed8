"""Rule 30: WebSockets that pass through: handshakes, pages, frames and ends."""

from typing import Any

from switchgear.gateway.settings import GatewaySettings
from switchgear.http.frames import BINARY, PING, PONG, TEXT, encode, encode_close
from switchgear.http.handshake import accept_of
from switchgear.http.settings import ServerSettings
from tests.rules.entry import AWAY, BREAK, BYE, END, Await, Entry, Pause, Steps, head, plain

__all__ = ["ENTRIES"]

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
LINES = [
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: " + KEY,
]
LEFT = encode_close(1012, "connect again", masked=False)
SILENT = encode_close(1001, "nothing was said", masked=False)
HELLO, WORLD = (encode(TEXT, word, masked=False) for word in (b"hello", b"world"))
# With a mask of zeros, so that it is the same each time.
ASKED = b"\x81\x85\0\0\0\0hello"
PINGS = (encode(PING, b"", masked=False), Pause(0.1)) * 5
DONE = (Await(b"what nobody sends"),)


def shake(*more: bytes, without: bytes = b"nothing", line: bytes = b"GET /talk HTTP/1.1") -> bytes:
    return head(line, *(one for one in LINES if without not in one), *more)


def shaken(*more: bytes, key: bytes = KEY) -> bytes:
    """The handshake as the upstream has it."""
    lines = (b"sec-websocket-version: 13", b"sec-websocket-key: " + key, *more)
    return plain(b"/talk", *lines, b"connection: upgrade", b"upgrade: websocket")


def switched(*more: bytes, key: bytes = KEY, upgrade: bytes = b"websocket") -> bytes:
    return b"\r\n".join([
        b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: " + upgrade,
        b"Sec-WebSocket-Accept: " + accept_of(key.decode()).encode(), *more, b"", b"",
    ])  # fmt: skip


OPEN = (shake(), Await(b"\r\n\r\n"))


def session(
    clause: str, sent: Steps, said: Steps, got: bytes, *, end: str = "closed",
    forwarded: bytes | None = None, **more: Any,
) -> Entry:  # fmt: skip
    wire = shaken() if forwarded is None else forwarded
    return Entry(30, clause, sent, f"101, {end}", wire, upstream=(said,), got=got, **more)


def asked(clause: str, sent: bytes, answer: str, **more: Any) -> Entry:
    """A handshake that gets no further than the gateway."""
    return Entry(30, clause, sent, answer, b"", proxied=False, **more)


def page(clause: str, origin: bytes, answer: str = "101, kept", *, host: bytes = b"Host: a",
         origins: tuple[str, ...] = ()) -> Entry:  # fmt: skip
    sent = head(b"GET /talk HTTP/1.1", *LINES, b"Origin: " + origin, host=host)
    wire = shaken(b"origin: " + origin).replace(b"host: a", host.lower())
    return Entry(30, clause, sent, answer, wire if answer[0] == "1" else b"", proxied=False,
                 upstream=((switched(), *DONE),),
                 gateway=GatewaySettings(origins=origins))  # fmt: skip


def answered(clause: str, said: Steps, answer: str = "502, kept", *offer: bytes) -> Entry:
    """An upstream's answer to a handshake; a GET is tried three times before it has failed."""
    offered = tuple(one.partition(b":")[0].lower() + b":" + one.partition(b":")[2] for one in offer)
    times = 3 if answer.startswith("502") else 1
    return Entry(30, clause, shake(*offer), answer, shaken(*offered) * times, upstream=(said,))


ENTRIES = [
    # The client's handshake
    asked("a handshake of another version", shake(b"Sec-WebSocket-Version: 8", without=b"13"),
          "426 websocket-version, kept", has=b"sec-websocket-version: 13\r\n"),
    asked("a handshake without a version", shake(without=b"13"), "426 websocket-version, kept",
          has=b"connection: upgrade\r\nupgrade: websocket\r\n"),
    asked("a handshake without a key", shake(without=b"Key"), "400 websocket-key, kept"),
    asked("a key of 15 bytes", shake(b"Sec-WebSocket-Key: " + KEY[:20], without=b"Key"),
          "400 websocket-key, kept"),
    asked("a key that is no base64", shake(b"Sec-WebSocket-Key: " + b"!" * 24, without=b"Key"),
          "400 websocket-key, kept"),
    asked("two keys", shake(b"Sec-WebSocket-Key: " + KEY), "400 sec-websocket-key, closed"),
    asked("two versions", shake(b"Sec-WebSocket-Version: 8"),
          "400 sec-websocket-version, closed"),
    asked("two upgrades", shake(b"Upgrade: h2c"), "400 upgrade, closed"),
    Entry(30, "an upgrade to something else is an ordinary request",
          head(b"GET /talk HTTP/1.1", b"Connection: Upgrade", b"Upgrade: h2c"), "200, kept",
          plain(b"/talk")),
    Entry(30, "an upgrade that Connection does not name is an ordinary request",
          head(b"GET /talk HTTP/1.1", b"Upgrade: websocket"), "200, kept", plain(b"/talk")),
    Entry(30, "an upgrade in HTTP/1.0 is an ordinary request",
          head(b"GET /talk HTTP/1.0", b"Connection: Upgrade", b"Upgrade: websocket"),
          "200, closed", plain(b"/talk")),
    Entry(30, "POST with an upgrade is an ordinary request",
          head(b"POST /talk HTTP/1.1", b"Connection: Upgrade", b"Upgrade: websocket"), "200, kept",
          plain(b"/talk", b"content-length: 0", method=b"POST")),
    Entry(30, "an upgrade with a body is an ordinary request",
          head(b"GET /talk HTTP/1.1", b"Connection: Upgrade", b"Upgrade: websocket",
               b"Content-Length: 1") + b"x", "200, kept",
          plain(b"/talk", b"content-length: 1") + b"x"),
    Entry(30, "a route to an endpoint speaks no WebSocket", shake(line=b"GET /talk HTTP/1.1"),
          "200, kept",
          plain(b"/talk", b"sec-websocket-version: 13", b"sec-websocket-key: " + KEY),
          route=(("prefix", False), ("path", "/{one}")), proxied=False),
    # Pages
    page("a page of the same host may open a socket", b"http://a"),
    page("a page of the same host, whose port is its scheme's own", b"http://a:80"),
    page("a page of the same host over TLS that somebody else has ended", b"https://a"),
    page("a page of the same host in other letters", b"http://A"),
    page("a page of another host may not", b"http://b", "403 origin, kept"),
    page("a page of a host below may not", b"http://x.a", "403 origin, kept"),
    page("a page of a host whose name begins the same may not", b"http://a.evil.example",
         "403 origin, kept"),
    page("a page of another port may not", b"http://a:8080", "403 origin, kept"),
    page("a page without an origin of its own may not", b"null", "403 origin, kept"),
    page("an origin that is none", b"a", "403 origin, kept"),
    page("an origin of another kind", b"file://a", "403 origin, kept"),
    page("an origin with userinfo", b"http://x@a", "403 origin, kept"),
    page("a page that is listed may", b"https://b", origins=("https://b",)),
    page("beside those that are listed, the host's own may", b"http://a", origins=("https://b",)),
    page("a page that is listed with another scheme may not", b"http://b", "403 origin, kept",
         origins=("https://b",)),
    page("any page may, where that is set", b"null", origins=("*",)),
    # The upstream's handshake
    answered("an accept that fits another key", switched(key=b"AAAAAAAAAAAAAAAAAAAAAA==")),
    answered("no accept", b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    answered("a switch to another protocol", switched(upgrade=b"h2c")),
    answered("a switch that Connection does not name",
             switched().replace(b"Connection: Upgrade", b"Connection: close")),
    answered("an extension that was not offered",
             switched(b"Sec-WebSocket-Extensions: permessage-deflate")),
    answered("another extension than was offered", switched(b"Sec-WebSocket-Extensions: x"),
             "502, kept", b"Sec-WebSocket-Extensions: permessage-deflate"),
    answered("a subprotocol that was not offered", switched(b"Sec-WebSocket-Protocol: chat")),
    answered("a subprotocol in other letters than was offered",
             switched(b"Sec-WebSocket-Protocol: CHAT"), "502, kept",
             b"Sec-WebSocket-Protocol: chat"),
    answered("what was offered may be chosen",
             (switched(b"Sec-WebSocket-Protocol: b",
                       b"Sec-WebSocket-Extensions: permessage-deflate; x=1"), *DONE), "101, kept",
             b"Sec-WebSocket-Protocol: a, b",
             b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
    answered("an upstream that refuses is heard",
             b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "403, kept"),
    answered("an upstream that asks for a login is heard",
             b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n", "401, kept"),
    answered("an upstream that does not know of it answers", b"HTTP/1.1 200 OK\r\n"
             b"Content-Length: 2\r\n\r\nok", "200, kept"),
    Entry(30, "what stands behind a handshake that was refused is the next request",
          shake() + head(b"GET /next HTTP/1.1"), "403 200, kept", shaken() + plain(b"/next"),
          upstream=(b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n",
                    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
    # Frames
    session("frames pass both ways as they are", (*OPEN, ASKED, Await(HELLO)),
            (switched(), Await(ASKED), HELLO, BYE), HELLO, forwarded=shaken() + ASKED),
    session("a frame right behind the client's handshake is not lost",
            (shake() + ASKED, Await(HELLO)), (switched(), Await(ASKED), HELLO, BYE), HELLO,
            forwarded=shaken() + ASKED),
    session("a frame right behind the upstream's handshake is not lost", OPEN,
            (switched() + HELLO, BYE), HELLO),
    session("pings and pongs pass", (*OPEN, b"\x89\x80\0\0\0\0", Await(b"\x8a\0")),
            (switched(), Await(b"\x89\x80\0\0\0\0"), encode(PONG, b"", masked=False), BYE),
            encode(PONG, b"", masked=False), forwarded=shaken() + b"\x89\x80\0\0\0\0"),
    session("1 MiB passes", (*OPEN, Await(b"y" * 9)),
            (switched(), encode(BINARY, b"x" * 1_000_000 + b"y" * 9, masked=False), Pause(0.2),
             BYE), b"x" * 100 + b"y" * 9),
    session("a session that lasts", OPEN, (switched() + HELLO, *DONE), HELLO, end="kept"),
    # Ends
    session("an upstream that closes ends the session", OPEN,
            (switched() + encode_close(1000, "", masked=False), BYE),
            encode_close(1000, "", masked=False)),
    session("an upstream that ends its half ends the session", OPEN, (switched() + HELLO, END),
            HELLO),
    session("an upstream that resets ends the session", OPEN, (switched(), Pause(0.05), BREAK),
            b"\r\n\r\n"),
    session("a client that ends its half ends the session, after what it said",
            (*OPEN, ASKED, END), (switched(), Await(ASKED), *DONE), b"\r\n\r\n",
            forwarded=shaken() + ASKED, dropped=True),
    Entry(30, "a client that leaves ends the session", (*OPEN, BYE), "101, left", shaken(),
          upstream=((switched(), *DONE),), dropped=True),
    session("a silent session is told so, and ended", (*OPEN, Pause(0.5)),
            (switched() + HELLO, *DONE), HELLO + SILENT, dropped=True,
            settings=ServerSettings(session_idle=0.2, idle_timeout=0.2)),
    session("a session that is told of a ping now and then is not silent",
            (*OPEN, Pause(0.5), Await(WORLD)),
            (switched(), *PINGS, WORLD, BYE), WORLD,
            settings=ServerSettings(session_idle=0.25, idle_timeout=0.2)),
    session("a gateway that goes away says so between two frames", (*OPEN, AWAY),
            (switched() + HELLO, *DONE), HELLO + LEFT, dropped=True),
    session("a gateway that goes away amid a frame lets it end first", (*OPEN, Await(b"wor"), AWAY),
            (switched() + WORLD[:5], Pause(0.2), WORLD[5:], *DONE), WORLD + LEFT, dropped=True),
    Entry(30, "no session more than are allowed", shake(), "503 sessions-full, kept", shaken(),
          upstream=(switched(),), settings=ServerSettings(sessions=0), proxied=False),
    Entry(30, "nor of one address", shake(), "503 sessions-full, kept", shaken(),
          upstream=(switched(),), settings=ServerSettings(sessions_per_address=0), proxied=False),
]  # fmt: skip
