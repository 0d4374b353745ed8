"""A grammar of nearly valid messages: what a strict parser must not be confused by.

Everything is drawn from a `random.Random`, so that the same grammar serves both engines: a seeded
one for libFuzzer's mutator, Hypothesis's own where its shrinking is wanted.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

__all__ = [
    "Make",
    "chance",
    "chunked",
    "claim",
    "fault",
    "fields",
    "frames",
    "noisy",
    "request",
    "response",
    "several",
    "spoil",
    "target",
]

Make = Callable[[Random], bytes]

METHODS: Final = (b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"PATCH", b"OPTIONS")
ODD_METHODS: Final = (
    b"CONNECT", b"TRACE", b"get", b"PRI", b"M-SEARCH", b"GET\t", b"G\0T", b"", b"A" * 33,
    b"GE\xc3\x89",
)  # fmt: skip
VERSIONS: Final = (
    b"HTTP/1.0", b"HTTP/1.1 ", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1\t", b"HTTP/11",
    b"HTTP/0.9", b"HTTP/1.\xb2", b"", b"HTTP/1.1\r", b"HTTP/1.01",
)  # fmt: skip
ENDS: Final = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\r\n ", b"\n\r", b"\r\n\r\n", b"", b"\0\r\n")
SEGMENTS: Final = (
    b"a", b"api", b"..", b".", b"%2e%2e", b"%2E.", b".%2e", b"", b"%2f", b"%5c", b"\\", b"%00",
    b"%c0%ae", b"%C3%A9", b"\xc3\xa9", b";x=y", b"a;b", b"%3b", b"%25%32%65", b"%252e", b"%zz",
    b"%e", b"%", b"a b", b"%20", b"~", b"%7e", b"{x}", b"[1]", b"^", b"|", b'"', b"<",
    b"%ed%a0%80", b"%f4%90%80%80", b"\t", b"\x7f", b"%7F", b"%0a",
)  # fmt: skip
QUERIES: Final = (
    b"a=b", b"%", b"a=%zz", b"..", b"/../", b"?", b"#x", b"\xff", b"{}", b"a b", b"%00", b"",
)  # fmt: skip
AUTHORITIES: Final = (
    b"a", b"A", b"a:80", b"a:443", b"a:99999", b"u@a", b"a,b", b"a, a", b"", b"a b", b"a/",
    b"[::1]", b"[::1]:8", b"[", b"a:", b"\xc3\xa9", b"a\0", b"a:8:8", b"a#b", b"a?b", b"*", b"a.",
    b"%61", b"127.1",
)  # fmt: skip
NUMBERS: Final = (
    b"0", b"1", b"3", b"5", b"10", b"05", b"+5", b"-1", b"5 ", b" 5", b"0x5", b"5_0", b"1e1",
    b"5.0", b"5,5", b"5, 5", b"", b"99999999999999999999", b"18446744073709551616", b"4294967296",
    b"\xb2", b"\xd9\xa3", b"5\t", b"5\0", b"\x0b5",
)  # fmt: skip
CODINGS: Final = (
    b"chunked", b"Chunked", b"CHUNKED", b"gzip", b"gzip, chunked", b"chunked, gzip",
    b"chunked, chunked", b"identity", b" chunked", b"chunked ", b"\tchunked", b"chunked;q=1",
    b'"chunked"', b"xchunked", b"chunke\xe4", b"", b",chunked", b"chunked,", b"chunked\x0b",
    b"chun\xc4\xb7ed",
)  # fmt: skip
OPTIONS: Final = (
    b"close", b"keep-alive", b"Close", b"upgrade", b"close, keep-alive", b"x-a", b"host",
    b"content-length", b"transfer-encoding", b"authorization", b"switchgear-token",
    b"x-forwarded-for", b"", b",", b"close;x", b"k\xe9ep", b"keep-alive, upgrade", b"x-request-id",
    b"traceparent", b"switchgear-deadline-ms", b"\tclose\t",
)  # fmt: skip
NAMES: Final = (
    b"X-A", b"x-a", b"Accept", b"Cookie", b"Set-Cookie", b"Content-Type", b"Authorization",
    b"Trailer", b"TE", b"Via", b"Date", b"Server", b"Keep-Alive", b"Proxy-Connection",
    b"HTTP2-Settings", b"Origin", b"User-Agent", b"X-Request-Id", b"traceparent", b"tracestate",
    b"grpc-timeout", b"x-envoy-expected-rq-timeout-ms", b"Content-Encoding", b"Range",
)  # fmt: skip
CLAIMS: Final = (
    b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"Forwarded", b"X-Real-IP",
    b"X-User-Id", b"X_User_Id", b"X_Forwarded_For", b"X-Original-URL", b"X-Rewrite-Url",
    b"X-Remote-User", b"X-Client-IP", b"True-Client-IP", b"CF-Connecting-IP", b"switchgear-token",
    b"switchgear-deadline-ms", b"switchgear-fault", b"Switchgear_Token", b"X-Forwarded",
    b"x-Forwarded_For", b"X-USER", b"True_Client_IP",
)  # fmt: skip
ODD_NAMES: Final = (
    b"X A", b"X-A ", b" X-A", b"\tX-A", b"", b"X\0", b"X\xe9", b"X(a)", b"X,a", b"X:a", b"X;a",
    b"X@", b"X/", b"{", b"Content_Length", b"Content-Length ", b"Content-Length\t",
    b"Content-Length\0", b"Transfer-Encoding ", b"Transfer_Encoding", b"Host ",
    b"Transfer-Encod\xefng", b"Content\xadLength", b"!#$%&'*+-.^_`|~0", b"\x0bHost", b"X" * 70,
)  # fmt: skip
VALUES: Final = (
    b"b", b"", b" ", b"\t", b"a\tb", b"a,b", b"\xe9", b"\xff\xfe", b"a\0b", b"a\x01", b"a\x7f",
    b"a\rb", b"a\nb", b"a\r\n b", b"a\r\n\tb", b"a\x0bb", b"a\x0cb", b"\x85", b"1.2.3.4",
    b"::1, 10.0.0.1", b"5S", b"100", b"0", b"99999999n", b'"q\\"',
    b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"b" * 40, b"chunked", b"close",
    b"admin",
)  # fmt: skip
SIZES: Final = (
    b"0", b"1", b"5", b"a", b"A", b"00", b"0005", b"+5", b"-5", b"0x5", b"5 ", b" 5", b"g", b"",
    b"5\t", b"\xb2", b"1_0", b"fffffffffffffff", b"ffffffffffffffff", b"10000000000000000", b"5\r",
    b"5\n",
)  # fmt: skip
EXTENSIONS: Final = (
    b";", b";a", b";a=b", b';a="b"', b" ;a", b"; a=b", b";a\0", b";\r\n", b";\n", b";a=\xe9",
    b";" + b"a" * 260, b";a" * 20, b",a",
)  # fmt: skip
STATUSES: Final = (
    b"200 OK", b"204 No Content", b"304 Not Modified", b"100 Continue", b"101 Switching Protocols",
    b"103 Early Hints", b"404 Not Found", b"500 x", b"200", b"200 ", b"099 x", b"1000 x", b"20 x",
    b"-20 x", b"+200 x", b"200\tOK", b"200 \xe9", b"200 O\0K", b"2\xb20 x", b" 200 x", b"600 x",
    b"200 a\rb", b"200 a\x0bb", b"205 Reset Content",
)  # fmt: skip


def chance(random: Random, of: float) -> bool:
    """Say yes so often."""
    return random.random() < of


def _mostly(random: Random, plain: Sequence[bytes], odd: Sequence[bytes], often: float) -> bytes:
    return random.choice(odd if chance(random, often) else plain)


def target(random: Random) -> bytes:
    """Make a request target."""
    form = random.random()
    if form < 0.08:
        return random.choice((b"*", b"", b"a", b"?x", b"#", b"//", b"http:", b"a:80", b"/" * 300))
    path = b"".join(b"/" + random.choice(SEGMENTS) for _ in range(random.randint(1, 4)))
    if form < 0.4:
        path = random.choice((b"/", b"/a", b"/api/a", b"/a?b=c", b"/api"))
    if chance(random, 0.3):
        path += b"?" + random.choice(QUERIES)
    if form > 0.88:
        return random.choice((b"http://", b"https://", b"HTTP://", b"ftp://", b"http:/")) + (
            _mostly(random, (b"a",), AUTHORITIES, 0.4) + path
        )
    return path


def _field(random: Random, name: bytes, value: bytes) -> bytes:
    colon = _mostly(random, (b": ", b":"), (b" : ", b"", b":\t", b"\t:", b":  ", b"::"), 0.05)
    end = _mostly(random, (b"\r\n",), ENDS, 0.04)
    return name + colon + value + end


def _cased(random: Random, name: bytes) -> bytes:
    return random.choice((name, name, name.lower(), name.upper(), name.swapcase()))


def _any_field(random: Random) -> bytes:
    kind = random.random()
    if kind < 0.2:
        name, value = _cased(random, b"Content-Length"), _mostly(random, NUMBERS[:5], NUMBERS, 0.4)
    elif kind < 0.35:
        name, value = (
            _cased(random, b"Transfer-Encoding"),
            _mostly(random, (b"chunked",), CODINGS, 0.4),
        )
    elif kind < 0.5:
        name, value = _cased(random, b"Connection"), random.choice(OPTIONS)
    elif kind < 0.55:
        name, value = (
            b"Expect",
            random.choice((b"100-continue", b"100-Continue", b"x", b"100-continue, x")),
        )
    elif kind < 0.6:
        name, value = b"Upgrade", random.choice((b"websocket", b"h2c", b"WebSocket, x"))
    elif kind < 0.65:
        name, value = b"Host", random.choice(AUTHORITIES)
    elif kind < 0.75:
        name, value = random.choice(CLAIMS), random.choice(VALUES)
    else:
        name = _mostly(random, NAMES, ODD_NAMES, 0.25)
        value = _mostly(random, VALUES[:3], VALUES, 0.4)
    return _field(random, name, value)


def fields(random: Random, most: int = 5) -> bytes:
    """Make field lines, without the blank line."""
    lines = [_any_field(random) for _ in range(random.randint(0, most))]
    if lines and chance(random, 0.1):
        lines.append(random.choice(lines))
    return b"".join(lines)


def chunked(random: Random) -> bytes:
    """Make a chunked body: mostly a right one."""
    parts = []
    odd = 0.06
    for _ in range(random.randint(0, 4)):
        data = random.choice(
            (b"hello", b"x", b"0\r\n\r\n", b"a" * 17, b"\r\n", b"GET / HTTP/1.1\r\n\r\n")
        )
        size = random.choice((b"%x", b"%X", b"0%x")) % len(data)
        size = _mostly(random, (size,), SIZES, odd)
        extension = random.choice(EXTENSIONS) if chance(random, 0.12) else b""
        parts.append(size + extension + _mostly(random, (b"\r\n",), ENDS, odd))
        parts.append(data + _mostly(random, (b"\r\n",), ENDS, odd))
    if chance(random, 0.9):
        parts.append(_mostly(random, (b"0",), SIZES, odd) + _mostly(random, (b"\r\n",), ENDS, odd))
        if chance(random, 0.2):
            parts.append(fields(random, 2))
        parts.append(_mostly(random, (b"\r\n",), ENDS, odd))
    return b"".join(parts)


def _body(random: Random, lines: bytes) -> tuple[bytes, bytes]:
    """Return field lines and the body that they announce, mostly."""
    kind = random.random()
    if kind < 0.35:
        return lines, b"" if chance(random, 0.9) else b"hello"
    if kind < 0.65:
        body = random.choice(
            (b"", b"hello", b"x" * 40, b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n")
        )
        number = _mostly(random, (b"%d" % len(body),), NUMBERS, 0.1)
        return lines + _field(random, _cased(random, b"Content-Length"), number), body
    coding = _mostly(random, (b"chunked",), CODINGS, 0.1)
    return lines + _field(random, _cased(random, b"Transfer-Encoding"), coding), chunked(random)


def request(random: Random) -> bytes:
    """Make one request: mostly a right one."""
    line = b" ".join(
        (
            _mostly(random, METHODS, ODD_METHODS, 0.06),
            target(random) if chance(random, 0.5) else b"/a",
            _mostly(random, (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"), VERSIONS, 0.06),
        )
    ) + _mostly(random, (b"\r\n",), ENDS, 0.03)
    host = (
        b""
        if chance(random, 0.05)
        else _field(random, b"Host", _mostly(random, (b"a",), AUTHORITIES, 0.1))
    )
    lines, body = _body(random, host + (fields(random, 3) if chance(random, 0.6) else b""))
    lead = (
        random.choice((b"\r\n", b"\n", b"\r\n\r\n", b"\0", b" ")) if chance(random, 0.05) else b""
    )
    return lead + line + lines + _mostly(random, (b"\r\n",), ENDS, 0.03) + body


def response(random: Random) -> bytes:
    """Make one response: mostly a right one."""
    version = _mostly(random, (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"), VERSIONS, 0.05)
    line = version + b" " + _mostly(random, STATUSES[:8], STATUSES, 0.15)
    line += _mostly(random, (b"\r\n",), ENDS, 0.04)
    lines, body = _body(random, fields(random, 3) if chance(random, 0.6) else b"")
    return line + lines + _mostly(random, (b"\r\n",), ENDS, 0.03) + body


PAYLOADS: Final = (
    b"", b"hi", b"\xc3\xa9", b"\xc3", b"\xa9", b"\xff", b"\xed\xa0\x80", b"\xf0\x9f", b"\x92\xa9",
    b"\xf4\x90\x80\x80", b"\x03\xe8", b"\x03\xed", b"\x03\xe8ok", b"\x03\xe8\xff", b"\x0b\xb8",
    b"\x13\x88", b"x" * 126, b"x" * 130,
)  # fmt: skip


def _frame(random: Random, *, masked: bool) -> bytes:
    opcode = random.choice((0, 0, 1, 1, 1, 2, 8, 9, 10, 3 if chance(random, 0.1) else 9))
    first = opcode | (0x80 if chance(random, 0.6) else 0)
    if chance(random, 0.03):
        first |= random.choice((0x40, 0x20, 0x10))
    payload = random.choice(PAYLOADS)
    bit = (0x80 if masked else 0) ^ (0x80 if chance(random, 0.03) else 0)
    size = len(payload)
    if chance(random, 0.05):
        size = random.choice((0, 125, 126, 127, 1 << 16, (1 << 63) + 1))
    width = random.random()
    if size > 0xFFFF or width < 0.03:
        length = bytes((bit | 127,)) + size.to_bytes(8, "big")
    elif size > 125 or width < 0.06:
        length = bytes((bit | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((bit | size,))
    mask = bytes(random.randrange(256) for _ in range(4)) if bit else b""
    if mask:
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes((first,)) + length + mask + payload


def frames(random: Random) -> bytes:
    """Make WebSocket frames: mostly right ones, masked as a client's or not."""
    masked = chance(random, 0.5)
    return b"".join(_frame(random, masked=masked) for _ in range(random.randint(1, 6)))


MEMBERS: Final = (
    b"code", b"detail", b"effect", b"refusal", b"retry_after", b"origin", b"hops", b"public",
    b"extra", b"new",
)  # fmt: skip
SCALARS: Final = (
    b'"unavailable"', b'"internal"', b'"unauthenticated"', b'"none"', b'"full"', b'"x"', b'""',
    b"null", b"true", b"0", b"1.5", b"-1", b"1e400", b"1e308", b"99999999999999999999999999",
    b"503", b"\"\\ud800\"", b'"\\u0000\\r\\nX: y"', b'"\xc3\xa9"', b'"\xff"', b"[]", b"{}",
    b'["GET","a\\r\\nb: c"]', b'["a"]', b"[1]", b'{"status":418}', b'{"status":true}',
    b'{"allow":["GET\\r\\nX: y"]}', b'{"reason":"x"}', b'{"allow":[{}]}', b'{"errors":1}',
    b'{"a":{"b":[1e999]}}', b"[" * 70 + b"]" * 70, b'"' + b"a" * 1030 + b'"', b"NaN",
)  # fmt: skip
ENTRIES: Final = (
    b"10.0.0.1", b"192.0.2.1", b"198.51.100.7", b"::1", b"[::1]:80", b"[::1]", b"fe80::1%eth0",
    b"::ffff:10.0.0.1", b"10.0.0.1:80", b"010.0.0.1", b"10.1", b"0x7f.1", b"unknown", b"_hidden",
    b"", b" 10.0.0.1 ", b"[10.0.0.1]", b"10.0.0.1:99999", b"2001:db8::/64", b"::%", b"5S",
    b"99999999H", b"0n", b"1.5S", b"-1S", b"100", b"0", b"000000001", b"9" * 10, b"\xb2",
    b"a.1800000010000.e30=.00", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"ff-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00", b"dGhlIHNhbXBsZSBub25jZQ==",
    b"dGhlIHNhbXBsZSBub25jZQ", b"req-12345678",
    b"00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01", b"a" * 64, b"a" * 65, b"-" * 9,
    b"\xe9" * 9,
)  # fmt: skip


def fault(random: Random) -> bytes:
    """Make the JSON of a fault, mostly."""
    members = (
        [b'"code":' + _mostly(random, SCALARS[:3], SCALARS, 0.2)] if chance(random, 0.95) else []
    )
    members += [
        b'"' + random.choice(MEMBERS) + b'":' + random.choice(SCALARS)
        for _ in range(random.randint(0, 4))
    ]
    return b"{" + _mostly(random, (b",",), (b", ", b",,", b""), 0.05).join(members) + b"}"


def claim(random: Random) -> bytes:
    """Make what a header claims: addresses, durations, traces, keys."""
    between = _mostly(random, (b",", b", "), (b"\n", b";", b" ", b",,"), 0.2)
    return between.join(random.choice(ENTRIES) for _ in range(random.randint(1, 4)))


def several(make: Make, most: int = 3) -> Make:
    """Make some of those in a row."""

    def made(random: Random) -> bytes:
        return b"".join(make(random) for _ in range(random.randint(1, most)))

    return made


def noisy(make: Make) -> Make:
    """Spoil now and then what is made: cut, doubled, swapped, one byte changed."""

    def made(random: Random) -> bytes:
        data = make(random)
        while chance(random, 0.3) and data:
            data = spoil(random, data)
        return data

    return made


def spoil(random: Random, data: bytes) -> bytes:
    """Change one thing about these bytes."""
    at = random.randrange(len(data) + 1)
    kind = random.randrange(7)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return (
            data[:at]
            + bytes((random.choice((0, 9, 10, 11, 13, 32, 58, 59, 127, 133, 255)),))
            + data[at:]
        )
    if kind == 2:
        return data[:at] + data[at + random.randint(1, 4) :]
    if kind == 3:
        return data[:at] + bytes((random.randrange(256),)) + data[at + 1 :]
    lines = data.split(b"\r\n")
    one = random.randrange(len(lines))
    if kind == 4:
        lines.insert(random.randrange(len(lines) + 1), lines[one])
    elif kind == 5:
        del lines[one]
    else:
        lines[one] = lines[one].swapcase()
    return b"\r\n".join(lines)
