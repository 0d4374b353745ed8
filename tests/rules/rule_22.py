"""Rule 22: what is forwarded is framed anew, and what an upstream breaks is closed."""

from tests.rules.entry import BREAK, BYE, Await, Entry, Pause, Steps, head, plain

__all__ = ["ENTRIES"]

# Not repeatable: what fails is told at once, and not tried again.
ASK = head(b"POST / HTTP/1.1", b"Content-Length: 1") + b"x"
ASKED = plain(b"/", b"content-length: 1", method=b"POST") + b"x"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MORE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"


def broken(clause: str, said: Steps, answer: str = "502, kept") -> Entry:
    """What cannot be believed is no answer, and its connection is not used again."""
    return Entry(22, clause, ASK, answer, ASKED, upstream=(said,), again=False)


def line(clause: str, first: bytes) -> Entry:
    return broken(clause, first + b"\r\nContent-Length: 2\r\n\r\nok")


def fields(clause: str, *lines: bytes) -> Entry:
    return broken(clause, OK + b"\r\n".join(lines) + b"\r\n\r\nhello")


def chunks(clause: str, body: bytes) -> Entry:
    return broken(clause, CHUNKED + body)


def fine(
    clause: str, said: Steps, body: bytes, *, sent: Steps = ASK, again: bool = True,
    answer: str = "200, kept", forwarded: bytes = ASKED,
) -> Entry:  # fmt: skip
    return Entry(22, clause, sent, answer, forwarded, upstream=(said,), again=again, body=body)


ENTRIES = [
    # What goes in is framed by us
    Entry(22, "a chunked body that is all here goes on with a length",
          head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked")
          + b"1;x\r\na\r\n1\r\nb\r\n0\r\n\r\n",
          "200, kept", plain(b"/", b"content-length: 2", method=b"POST") + b"ab"),
    Entry(22, "a chunked body that is on its way goes on in chunks of ours",
          (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked") + b"2;x\r\nab\r\n", Pause(0.05),
           b"01\r\nc\r\n0\r\nX: y\r\n\r\n"),
          "200, kept",
          plain(b"/", b"transfer-encoding: chunked", method=b"POST")
          + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
    Entry(22, "a body of a known length on its way goes on with that length",
          (head(b"POST / HTTP/1.1", b"Content-Length: 3") + b"ab", Pause(0.05), b"c"),
          "200, kept", plain(b"/", b"content-length: 3", method=b"POST") + b"abc"),
    Entry(22, "a chunk that breaks in a later piece cuts what went on, and is refused",
          (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked") + b"2\r\nab\r\n", Pause(0.05),
           b"no size\r\n"),
          "400 chunk, closed",
          plain(b"/", b"transfer-encoding: chunked", method=b"POST") + b"2\r\nab\r\n<cut>"),
    # Status lines
    line("a status line of another protocol", b"ICY 200 OK"),
    line("a status line of HTTP/2", b"HTTP/2 200 OK"),
    line("a status line of HTTP/1.2", b"HTTP/1.2 200 OK"),
    line("a status line in small letters", b"http/1.1 200 OK"),
    line("a status of two digits", b"HTTP/1.1 20 OK"),
    line("a status of four digits", b"HTTP/1.1 2000 OK"),
    line("a status that begins with 0", b"HTTP/1.1 099 OK"),
    line("a status above 599", b"HTTP/1.1 600 OK"),
    line("a status with a sign", b"HTTP/1.1 +200 OK"),
    line("two blanks before the status", b"HTTP/1.1  200 OK"),
    line("a blank before the status line", b" HTTP/1.1 200 OK"),
    line("an empty line before the status line", b"\r\nHTTP/1.1 200 OK"),
    line("NUL in the phrase", b"HTTP/1.1 200 O\0K"),
    line("CR in the phrase", b"HTTP/1.1 200 O\rK"),
    line("a bare LF behind the status line", b"HTTP/1.1 200 OK\nX: y"),
    broken("an answer of HTTP/0.9", (b"<html></html>", BYE)),
    fine("a status line without a phrase", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    # Framing
    fields("a length with a coding", b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    fields("two lengths", b"Content-Length: 5", b"Content-Length: 6"),
    fields("the same length twice", b"Content-Length: 5", b"Content-Length: 5"),
    fields("a length with a plus", b"Content-Length: +5"),
    fields("a length listed twice", b"Content-Length: 5, 5"),
    fields("an empty length", b"Content-Length:"),
    fields("a coding that is not known", b"Transfer-Encoding: gzip, chunked"),
    fields("identity", b"Transfer-Encoding: identity"),
    fields("chunked twice", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    fields("chunked behind a vertical tab", b"Transfer-Encoding:\x0bchunked"),
    broken("chunked in HTTP/1.0",
           b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    fields("an obsolete fold", b"X: y\r\n z", b"Content-Length: 5"),
    fields("a blank before a colon", b"X : y", b"Content-Length: 5"),
    fields("a bare CR in a value", b"X: a\rb", b"Content-Length: 5"),
    fields("a bare LF in a value", b"X: a\nSet-Cookie: b", b"Content-Length: 5"),
    fields("NUL in a value", b"X: a\0", b"Content-Length: 5"),
    fields("a name that is no token", b"X Y: z", b"Content-Length: 5"),
    fields("101 lines", *[b"X: y"] * 101),
    broken("a head over 32 KiB", OK + b"X: " + b"a" * 40_000 + b"\r\n\r\n"),
    broken("a head that does not end, over 32 KiB", OK + b"X: " + b"a" * 40_000),
    # Chunks
    chunks("a chunk's size that is no number", b"x\r\nhello\r\n0\r\n\r\n"),
    chunks("a chunk longer than it said", b"4\r\nhello\r\n0\r\n\r\n"),
    chunks("a bare LF behind a chunk's size", b"5\nhello\r\n0\r\n\r\n"),
    chunks("a chunk extension of 300 bytes", b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n"),
    chunks("a trailer that is no field", b"0\r\nX Y\r\n\r\n"),
    broken("a chunk that breaks in a later piece",
           (CHUNKED + b"2\r\nok\r\n", Pause(0.05), b"x\r\n"), "200 cut, reset"),
    # Bytes that nobody asked for
    broken("bytes behind a body", OK + b"Content-Length: 2\r\n\r\nok" + MORE),
    broken("bytes behind the last chunk", CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + MORE),
    broken("one byte behind a body", OK + b"Content-Length: 2\r\n\r\nok!"),
    broken("a body behind 204", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok"),
    broken("a body behind 304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok"),
    Entry(22, "a body behind the answer to HEAD", head(b"HEAD / HTTP/1.1"), "502, kept",
          plain(method=b"HEAD") * 3, upstream=(OK + b"Content-Length: 2\r\n\r\nok",), again=False),
    fine("bytes a moment after an answer poison the connection",
         (OK + b"Content-Length: 2\r\n\r\nok", Pause(0.02), MORE), b"ok",
         sent=(ASK, Await(b"ok"), Pause(0.08)), again=False),
    broken("101 that nobody asked for",
           b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
           b"Connection: upgrade\r\n\r\n"),
    broken("a ninth informational answer",
           b"HTTP/1.1 102 Processing\r\n\r\n" * 9 + OK + b"Content-Length: 0\r\n\r\n"),
    # Ends
    broken("no answer, and closed", (BYE,)),
    broken("no answer, and reset", (BREAK,)),
    broken("half a head, and closed", (OK + b"Content-Le", BYE)),
    broken("half a body of a known length, and closed",
           (OK + b"Content-Length: 5\r\n\r\nhe", Pause(0.05), BYE), "200 cut, reset"),
    broken("half a body of a known length, and reset",
           (OK + b"Content-Length: 5\r\n\r\nhe", Pause(0.05), BREAK), "200 cut, reset"),
    broken("chunks without the last one, and closed",
           (CHUNKED + b"2\r\nok\r\n", Pause(0.05), BYE), "200 cut, reset"),
    broken("half a chunk, and closed", (CHUNKED + b"5\r\nhe", Pause(0.05), BYE), "200 cut, reset"),
    broken("a body until the end, and reset",
           (OK + b"Connection: close\r\n\r\nhe", Pause(0.05), BREAK), "200 cut, reset"),
    fine("a body until the end goes out in chunks",
         (OK + b"Connection: close\r\n\r\nok", Pause(0.05), BYE), b"ok", again=False),
    broken("a body of unknown length on a connection that stays",
           (OK + b"\r\nok", Pause(0.05), BYE)),
    fine("a body of a known length that comes in pieces keeps its length",
         (OK + b"Content-Length: 5\r\n\r\nhe", Pause(0.05), b"llo"), b"hello"),
    fine("chunks that come in pieces are framed anew",
         (CHUNKED + b"2;x\r\nhe\r\n", Pause(0.05), b"03\r\nllo\r\n0\r\nX: y\r\n\r\n"), b"hello"),
    fine("an answer of very many tiny chunks, as one of words is",
         CHUNKED + 9000 * b"4\r\nword\r\n" + b"0\r\n\r\n", 9000 * b"word"),
    fine("an upstream that closes by its own words is not used again",
         OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", again=False),
    fine("an upstream of HTTP/1.0 is not used again",
         b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", again=False),
    fine("an upstream of HTTP/1.0 that keeps alive is used again",
         b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    fine("informational answers are followed by the one",
         b"HTTP/1.1 102 Processing\r\nA: b\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
         b"ok"),
]  # fmt: skip
