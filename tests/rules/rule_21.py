"""Rule 21: framing and fields that two parsers could read differently."""

from tests.rules.entry import Entry, head, plain

__all__ = ["ENTRIES"]

POST = b"POST / HTTP/1.1"
GET = b"GET / HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"


def refused(clause: str, sent: bytes, reason: str, status: int = 400) -> Entry:
    return Entry(21, clause, sent, f"{status} {reason}, closed", b"")


def field(clause: str, line: bytes, reason: str) -> Entry:
    return refused(clause, head(GET, line), reason)


def length(clause: str, *lines: bytes) -> Entry:
    return refused(clause, head(POST, *lines) + b"hello", "content-length")


def coding(clause: str, *lines: bytes) -> Entry:
    return refused(clause, head(POST, *lines) + b"0\r\n\r\n" + SMUGGLED, "transfer-encoding")


def chunked(clause: str, body: bytes, reason: str = "chunk", status: int = 400) -> Entry:
    """A body that breaks in its first piece is refused before anything is forwarded."""
    return refused(clause, head(POST, CHUNKED) + body, reason, status)


def taken(clause: str, sent: bytes, forwarded: bytes, answer: str = "200, kept") -> Entry:
    return Entry(21, clause, sent, answer, forwarded)


LENGTHS: list[tuple[str, bytes]] = [
    ("a length with a plus", b"+5"),
    ("a length with a minus", b"-5"),
    ("a length in hexadecimal digits", b"0x5"),
    ("a length and the same after a comma", b"5,5"),
    ("a length and another after a comma", b"5, 6"),
    ("an empty length", b""),
    ("a length with a fraction", b"5.0"),
    ("a length with an exponent", b"5e0"),
    ("a length with an underscore", b"1_0"),
    ("a length with a blank within", b"1 0"),
    ("a length in quotes", b'"5"'),
    ("a length with a semicolon", b"5;"),
    ("a length of 20 digits", b"18446744073709551621"),
    ("a length of digits beyond ASCII", b"\xb2"),
    ("a length that is a word", b"five"),
]

CODINGS: list[tuple[str, bytes]] = [
    ("a coding that is not known", b"Transfer-Encoding: gzip"),
    ("chunked behind another coding", b"Transfer-Encoding: gzip, chunked"),
    ("chunked before another coding", b"Transfer-Encoding: chunked, gzip"),
    ("chunked before identity", b"Transfer-Encoding: chunked, identity"),
    ("identity before chunked", b"Transfer-Encoding: identity, chunked"),
    ("identity", b"Transfer-Encoding: identity"),
    ("chunked twice in one line", b"Transfer-Encoding: chunked, chunked"),
    ("chunked with a comma behind it", b"Transfer-Encoding: chunked,"),
    ("chunked with a comma before it", b"Transfer-Encoding: ,chunked"),
    ("chunked with a parameter", b"Transfer-Encoding: chunked;q=1"),
    ("chunked in capitals", b"Transfer-Encoding: CHUNKED"),
    ("chunked in quotes", b'Transfer-Encoding: "chunked"'),
    ("chunked with letters behind it", b"Transfer-Encoding: chunkedx"),
    ("chunked with letters before it", b"Transfer-Encoding: xchunked"),
    ("chunked with a letter beyond ASCII", b"Transfer-Encoding: chun\xabed"),
    ("chunked behind a no-break space", b"Transfer-Encoding: \xa0chunked"),
    ("chunked behind a byte of NEL", b"Transfer-Encoding: \x85chunked"),
    ("chunked behind other words", b"Transfer-Encoding: x chunked"),
    ("an empty coding", b"Transfer-Encoding:"),
]

FIELDS: list[tuple[str, bytes, str]] = [
    ("chunked behind a vertical tab", b"Transfer-Encoding:\x0bchunked", "control-byte"),
    ("chunked behind a form feed", b"Transfer-Encoding:\x0cchunked", "control-byte"),
    ("chunked behind NUL", b"Transfer-Encoding: \0chunked", "control-byte"),
    ("chunked before NUL", b"Transfer-Encoding: chunked\0", "control-byte"),
    ("chunked on a folded line", b"Transfer-Encoding:\r\n chunked", "folding"),
    ("chunked on a line folded by a tab", b"Transfer-Encoding:\r\n\tchunked", "folding"),
    ("a blank before the coding's colon", b"Transfer-Encoding : chunked", "space-before-colon"),
    ("a tab before the coding's colon", b"Transfer-Encoding\t: chunked", "space-before-colon"),
    ("a vertical tab before its colon", b"Transfer-Encoding\x0b: chunked", "control-byte"),
    ("a blank before the length's colon", b"Content-Length : 5", "space-before-colon"),
    ("a field hidden behind a bare LF", b"X: y\nTransfer-Encoding: chunked", "line-break"),
    ("a field hidden behind a bare CR", b"X: y\rTransfer-Encoding: chunked", "line-break"),
    ("a field behind CR CR LF", b"X: y\r\r\nTransfer-Encoding: chunked", "line-break"),
    ("a name broken by a bare LF", b"Foo\nTransfer-Encoding: chunked", "line-break"),
    ("an obsolete fold", b"X: y\r\n z", "folding"),
    ("a fold by a tab", b"X: y\r\n\tz", "folding"),
    ("a fold of blanks alone", b"X: y\r\n  ", "folding"),
    ("a bare CR in a value", b"X: a\rb", "line-break"),
    ("a bare LF in a value", b"X: a\nb", "line-break"),
    ("a bare CR at a value's end", b"X: a\r", "line-break"),
    ("NUL in a value", b"X: a\0b", "control-byte"),
    ("a bell in a value", b"X: a\x07b", "control-byte"),
    ("an escape in a value", b"X: \x1b[2J", "control-byte"),
    ("a vertical tab in a value", b"X: a\x0bb", "control-byte"),
    ("DEL in a value", b"X: a\x7f", "control-byte"),
    ("a blank before a colon", b"X : y", "space-before-colon"),
    ("a blank within a name", b"X Y: z", "header-name"),
    ("a line without a colon", b"X", "malformed"),
    ("a line without a name", b": y", "header-name"),
    ("NUL in a name", b"X\0Y: z", "control-byte"),
    ("a slash in a name", b"X/Y: z", "header-name"),
    ("brackets in a name", b"X[Y]: z", "header-name"),
    ("a quote in a name", b'X"Y": z', "header-name"),
    ("an at-sign in a name", b"X@Y: z", "header-name"),
    ("an equals sign in a name", b"X=Y: z", "header-name"),
    ("a letter beyond ASCII in a name", b"X\xe4: z", "header-name"),
    ("a semicolon for a colon", b"Content-Length; 5", "header-name"),
]

ENTRIES = [
    refused("Content-Length with Transfer-Encoding (CL.TE)",
            head(POST, b"Content-Length: 6", CHUNKED) + b"0\r\n\r\nG", "transfer-encoding"),
    refused("Transfer-Encoding with Content-Length (TE.CL)",
            head(POST, CHUNKED, b"Content-Length: 4") + b"5c\r\n" + SMUGGLED + b"\r\n0\r\n\r\n",
            "transfer-encoding"),
    refused("a length of 0 with a coding", head(POST, b"Content-Length: 0", CHUNKED),
            "transfer-encoding"),
    refused("a length on GET with a coding (0.CL)",
            head(GET, b"Content-Length: 31", CHUNKED) + SMUGGLED, "transfer-encoding"),
    length("two lengths", b"Content-Length: 5", b"Content-Length: 6"),
    length("the same length twice", b"Content-Length: 5", b"Content-Length: 5"),
    length("two lengths, one in other letters", b"Content-Length: 5", b"content-LENGTH: 6"),
    *(length(clause, b"Content-Length: " + value) for clause, value in LENGTHS),
    length("a length behind a no-break space", b"Content-Length: \xa05"),
    coding("two codings in two lines (TE.TE)", CHUNKED, b"Transfer-Encoding: identity"),
    coding("chunked in two lines", CHUNKED, CHUNKED),
    coding("a coding in two lines, one in other letters", CHUNKED, b"Transfer-encoding: x"),
    *(coding(clause, line) for clause, line in CODINGS),
    refused("chunked in HTTP/1.0", head(b"POST / HTTP/1.0", CHUNKED) + b"0\r\n\r\n",
            "transfer-encoding"),
    *(field(clause, line, reason) for clause, line, reason in FIELDS),
    refused("a fold in the first line", GET + b"\r\n X: y\r\nHost: a\r\n\r\n", "folding"),
    refused("bare LFs throughout", b"GET / HTTP/1.1\nHost: a\n\n", "line-break"),
    refused("a head that ends with a bare LF", b"GET / HTTP/1.1\r\nHost: a\r\n\nX\r\n\r\n",
            "line-break"),
    # What is not framing at all
    taken("a length with leading zeros is that number",
          head(POST, b"Content-Length: 005") + b"hello",
          plain(b"/", b"content-length: 5", method=b"POST") + b"hello"),
    taken("blanks around a length are none of it",
          head(POST, b"Content-Length:  5\t ") + b"hello",
          plain(b"/", b"content-length: 5", method=b"POST") + b"hello"),
    taken("a length's twin by an underscore is dropped",
          head(POST, b"Content_Length: 9", b"Content-Length: 5") + b"hello",
          plain(b"/", b"content-length: 5", method=b"POST") + b"hello"),
    taken("a coding's twin by an underscore is dropped",
          head(GET, b"Transfer_Encoding: chunked"), plain()),
    taken("a field whose name is nearly the coding's is dropped by nobody and means nothing",
          head(GET, b"X-Transfer-Encoding: chunked"),
          plain(b"/", b"x-transfer-encoding: chunked")),
    taken("GET with a body", head(GET, b"Content-Length: 5") + b"hello",
          plain(b"/", b"content-length: 5") + b"hello"),
    taken("GET with a chunked body", head(GET, CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n",
          plain(b"/", b"content-length: 5") + b"hello"),
    taken("a body that was announced is no request (CL.0)",
          head(POST, b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
          plain(b"/", b"content-length: %d" % len(SMUGGLED), method=b"POST") + SMUGGLED),
    taken("bytes behind a body without a length are the next request",
          head(POST) + SMUGGLED,
          plain(b"/", b"content-length: 0", method=b"POST") + plain(b"/admin"),
          "200 200, kept"),
    taken("letters beyond ASCII in a value pass as they are",
          head(GET, b"X: \xc3\xa4"), plain(b"/", b"x: \xc3\xa4")),
    taken("a tab within a value passes", head(GET, b"X: a\tb"), plain(b"/", b"x: a\tb")),
    taken("an empty value passes", head(GET, b"X:"), plain(b"/", b"x: ")),
    # Chunks
    taken("chunks are put together, and framed anew",
          head(POST, CHUNKED) + b"2\r\nhe\r\n003\r\nllo\r\n0\r\n\r\n",
          plain(b"/", b"content-length: 5", method=b"POST") + b"hello"),
    taken("a short chunk extension is dropped",
          head(POST, CHUNKED) + b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
          plain(b"/", b"content-length: 5", method=b"POST") + b"hello"),
    taken("trailers are dropped",
          head(POST, CHUNKED, b"Trailer: X") + b"5\r\nhello\r\n0\r\nX: y\r\nHost: b\r\n\r\n",
          plain(b"/", b"content-length: 5", method=b"POST") + b"hello"),
    chunked("a chunk extension of 300 bytes", b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
            "chunk-extension"),
    chunked("chunk extensions of 5000 bytes in all",
            (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 25 + b"0\r\n\r\n", "chunk-extension"),
    chunked("a bare LF behind a chunk's size", b"5\nhello\r\n0\r\n\r\n"),
    chunked("a bare CR behind a chunk's size", b"5\rhello\r\n0\r\n\r\n"),
    chunked("a bare LF in a chunk extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    chunked("a bare CR in a chunk extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    chunked("a bare LF behind a chunk's bytes", b"5\r\nhello\n0\r\n\r\n"),
    chunked("a chunk longer than it said", b"4\r\nhello\r\n0\r\n\r\n"),
    chunked("a chunk's size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    chunked("a chunk's size with a plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    chunked("a chunk's size with a minus", b"-5\r\nhello\r\n0\r\n\r\n"),
    chunked("a chunk's size with an underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    chunked("a chunk's size behind a blank", b" 5\r\nhello\r\n0\r\n\r\n"),
    chunked("a chunk's size before a blank", b"5 \r\nhello\r\n0\r\n\r\n"),
    chunked("an empty chunk's size", b"\r\nhello\r\n0\r\n\r\n"),
    chunked("a chunk's size of 17 digits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    chunked("a chunk's size that is no number", b"five\r\nhello\r\n0\r\n\r\n"),
    chunked("NUL in a chunk extension", b"5;a\0\r\nhello\r\n0\r\n\r\n"),
    chunked("a trailer with a bare LF", b"0\r\nX: y\n\r\n\r\n", "line-break"),
    chunked("a trailer that is no field", b"0\r\n" + SMUGGLED, "header-name"),
    chunked("a trailer with a fold", b"0\r\nX: y\r\n z\r\n\r\n", "folding"),
    chunked("33 trailers", b"0\r\n" + b"X: y\r\n" * 33 + b"\r\n", "too-many-headers", 431),
    chunked("trailers of 9000 bytes", b"0\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
            "trailers-too-large", 431),
    # Sizes
    refused("a target of 9000 bytes", head(b"GET /" + b"a" * 9000 + b" HTTP/1.1"),
            "target-too-large", 414),
    refused("a head of 33 KiB", head(GET, *[b"X: " + b"a" * 990] * 34), "head-too-large", 431),
    refused("101 lines", head(GET, *[b"X: y"] * 100), "too-many-headers", 431),
    *(refused(f"a {name} of 257 members", head(GET, name.encode() + b": " + b"," * 256),
              "list-too-long", 431)
      for name in ("Connection", "Via", "X-Forwarded-For", "Sec-WebSocket-Protocol",
                   "Sec-WebSocket-Extensions")),
    refused("257 members in two lines", head(GET, *[b"Via: " + b"1.1 x," * 128 + b"1.1 x"] * 2),
            "list-too-long", 431),
    taken("a Connection of 256 members", head(GET, b"Connection: " + b"x-a," * 255 + b"x-a"),
          plain()),
    taken("any number of members of another field", head(GET, b"Accept: " + b"," * 300),
          plain(b"/", b"accept: " + b"," * 300)),
    refused("a body over 1 MiB is refused by its head",
            head(POST, b"Content-Length: 1048577"), "body-too-large", 413),
]  # fmt: skip
