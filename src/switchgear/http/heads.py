"""Heads: strict parsing of what stands before the blank line.

The first line and the target are checked here, the field lines in `fields`, and then what they
say of the message. A refusal is a `Fault` whose `extra` carries the HTTP `status` and a `reason`
token. Source: RFC 9112, RFC 9110.
"""

import re
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

from switchgear.http.fields import read_fields
from switchgear.http.head import Fields, Memo, RequestHead, ResponseHead
from switchgear.http.headers import Headers
from switchgear.http.refusals import refuse
from switchgear.http.target import normalise
from switchgear.policy.fault import Fault

if TYPE_CHECKING:
    from switchgear.http.settings import ServerSettings

__all__ = [
    "CHUNKED",
    "UNTIL_CLOSE",
    "Fields",
    "RequestHead",
    "ResponseHead",
    "incomplete",
    "read_request",
    "read_response",
]

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2

_REQUEST_LINE: Final = re.compile(r"([A-Z][A-Z0-9_-]{0,31}) ([!-~]++) HTTP/([0-9])\.([0-9])\r\n")
_STATUS_LINE: Final = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t -~\x80-\xff]*+)?\r\n")
_ABSOLUTE: Final = re.compile(r"(?i:https?)://([^/?#]*)([^#]*)")
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9_~-]++(?:\.[A-Za-z0-9_~-]++)*+\.?|\[([0-9A-Fa-f:.]++)\])(?::([0-9]{1,5}))?"
)
_HOST_MOST: Final = 261  # a name of 255, with its dot and a port: RFC 3986, section 3.2.2
_LENGTH: Final = re.compile(r"[0-9]{1,18}")

# Hosts that were found to be well formed; bounded like the names.
_HOSTS: Final[set[str]] = set()
_HOSTS_KEPT: Final = 256

# The most of them come first.
_METHODS: Final = tuple(
    (name, name.encode() + b" ")
    for name in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
)
_VERSION: Final = b" HTTP/1.1\r\n"
_MEMO_BYTES: Final = 1024
_LINE_ROOM: Final = 48  # of a request line, beside its target
_BARE_BREAK: Final = re.compile(rb"(?<!\r)\n")

# Read once: framing and routing hang on these, and two of one kind are two opinions.
_SINGLE: Final = frozenset(
    {
        "authorization",
        "content-length",
        "content-type",
        "expect",
        "host",
        "sec-websocket-key",
        "sec-websocket-version",
        "transfer-encoding",
        "upgrade",
    }
)

# Taken apart on the way, each member for itself: a head of commas would be 30,000 of them.
_LISTS: Final = (
    "connection",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "via",
    "x-forwarded-for",
)
_MEMBERS: Final = 256

Lookup = Callable[[str], str | None]


def _index(pairs: list[tuple[str, str]]) -> tuple[Headers, Lookup]:
    """Wrap fields; return their quickest lookup beside them."""
    index = dict(pairs)
    if len(index) == len(pairs):
        return Headers.parsed(pairs, index), index.get
    seen = set()
    for name, _ in pairs:
        if name in seen and name in _SINGLE:
            raise refuse(name, f"more than one {name} header")
        seen.add(name)
    headers = Headers.parsed(pairs, None)
    return headers, headers.get


def _framing(field: Lookup, minor: int) -> int | None:
    """Return the declared length of a body, CHUNKED, or None where neither is declared."""
    coding = field("transfer-encoding")
    length = field("content-length")
    if coding is not None:
        if length is not None:
            raise refuse("transfer-encoding", "both Content-Length and Transfer-Encoding")
        if coding != "chunked" or minor == 0:
            raise refuse("transfer-encoding", f"Transfer-Encoding {coding[:40]!r} is not supported")
        return CHUNKED
    if length is None:
        return None
    if _LENGTH.fullmatch(length) is None:
        raise refuse("content-length", f"Content-Length {length[:40]!r} is no number")
    return int(length)


def _keeps_alive(field: Lookup, minor: int) -> bool:
    connection = field("connection")
    if connection is None:
        return minor == 1
    options = {option.strip() for option in connection.lower().split(",")}
    return "close" not in options and (minor == 1 or "keep-alive" in options)


def read_request(head: bytes, limits: "ServerSettings", memo: Memo | None = None) -> RequestHead:
    """Read one request head, up to and with its blank line.

    Raises Fault for whatever two parsers could read differently: rules 20, 21 and 24.
    """
    if len(head) > limits.head_bytes:
        raise _head_too_large(limits)
    line_end = head.find(b"\r\n") + 2
    longest = limits.target_bytes
    if line_end > longest + _LINE_ROOM:
        raise _target_too_large(limits)
    method, target, minor = "", "", 1
    for name, begin in _METHODS:
        if head.startswith(begin):
            ends = line_end - len(_VERSION)
            if ends >= len(begin) and head.startswith(_VERSION, ends):
                method, target = name, head[len(begin) : ends].decode("latin-1")
            break
    if not method or " " in target:
        method, target, minor = _any_line(head[:line_end])
    if len(target) > longest:
        raise _target_too_large(limits)
    block = head[line_end:]
    if memo is not None and block == memo.block and minor:
        fields = memo.fields
        assert fields is not None  # noqa: S101 - set with the block
    else:
        fields = _read(block, minor, limits.head_lines)
        if memo is not None and minor and len(block) <= _MEMO_BYTES:
            memo.block, memo.fields = block, fields
    if target[:1] == "/" and method != "CONNECT":
        path, query = normalise(target)
    else:
        path, query = _odd_target(method, target, fields.host, connect=limits.connect_method)
    # What is escaped grows, and the next hop measures what is forwarded.
    if 3 * len(target) > longest and len(path) + len(query) + bool(query) > longest:
        raise _target_too_large(limits)
    return RequestHead(method, target, path, query, minor, fields)


def _read(block: bytes, minor: int, lines: int) -> Fields:
    """Read the field lines of a request, and what they say of it."""
    headers, field = _index(read_fields(block, lines))
    if block.count(b",") >= _MEMBERS:
        _check_lists(headers)
    host = field("host")
    if host is None:
        if minor:
            raise refuse("host", "no Host header")
    elif host not in _HOSTS:
        _check_host(host)
    length = 0
    if field("content-length") is not None or field("transfer-encoding") is not None:
        length = _framing(field, minor) or 0
    keep = minor == 1
    upgrade = ""
    if field("connection") is not None:
        keep = _keeps_alive(field, minor)
        if minor and not length and "upgrade" in headers.tokens("connection"):
            asked = (field("upgrade") or "").lower()
            upgrade = asked if asked == "websocket" else ""
    expects = False
    expect = field("expect")
    if expect is not None:
        if expect.lower() != "100-continue":
            raise refuse("expectation", f"the expectation {expect[:40]!r} is unknown", status=417)
        expects = minor == 1
    return Fields(headers, host, length, keep_alive=keep, expects=expects, upgrade=upgrade)


def _check_lists(headers: Headers) -> None:
    for name in _LISTS:
        value = headers.get(name)
        if value is not None and value.count(",") >= _MEMBERS:
            raise refuse("list-too-long", f"a {name} of over {_MEMBERS} members", status=431)


def incomplete(buffer: bytes, at: int, scanned: int, limits: "ServerSettings") -> Fault | None:
    """Return why the head that begins at `at` can never become a good one, if that shows already.

    `scanned` bytes of it were looked at before.
    """
    size = len(buffer) - at
    line_end = buffer.find(b"\n", at)
    if (line_end - at if line_end >= 0 else size) > limits.target_bytes + _LINE_ROOM:
        return _target_too_large(limits)
    if size > limits.head_bytes:
        return _head_too_large(limits)
    if buffer.startswith(b"\r\n", at) or _BARE_BREAK.search(buffer, max(at, at + scanned - 1)):
        return refuse("line-break", "a line of the head ends without CR, or is empty")
    return None


def _head_too_large(limits: "ServerSettings") -> Fault:
    return refuse("head-too-large", f"a head over {limits.head_bytes} bytes", status=431)


def _target_too_large(limits: "ServerSettings") -> Fault:
    return refuse("target-too-large", f"a target over {limits.target_bytes} bytes", status=414)


def _any_line(head: bytes) -> tuple[str, str, int]:
    """Read a request line, of whatever kind."""
    line = _REQUEST_LINE.fullmatch(head.decode("latin-1"))
    if line is None:
        raise refuse("request-line", f"malformed request line {head[:60]!r}")
    method, target, major, digit = line.groups()
    if major != "1" or digit not in "01":
        raise refuse("version", f"HTTP/{major}.{digit} is not spoken here", status=505)
    return method, target, int(digit)


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text) if len(text) <= _HOST_MOST else None
    if found is None or (found[2] is not None and int(found[2]) > 65535):
        return False
    if found[1] is not None:
        try:
            IPv6Address(found[1])
        except ValueError:
            return False
    return True


def _check_host(host: str) -> None:
    if not _is_host(host):
        raise refuse("host", f"malformed Host {host[:60]!r}")
    if len(_HOSTS) < _HOSTS_KEPT and len(host) <= 64:
        _HOSTS.add(host)


def _odd_target(method: str, target: str, host: str | None, *, connect: bool) -> tuple[str, str]:
    """Read a target that is not in origin form."""
    if method == "CONNECT":
        if not connect or not _is_host(target) or ":" not in target:
            raise refuse("connect", "CONNECT is not served here")
        return target, ""
    if target == "*":
        if method != "OPTIONS":
            raise refuse("target", f"{method} *: only OPTIONS may ask for *")
        return "*", ""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise refuse("target", f"the target {target[:60]!r} is of no known form")
    authority, rest = absolute.groups()
    if not _is_host(authority):
        raise refuse("target", f"malformed authority {authority[:60]!r} in the target")
    if host is not None and _same(authority, host, target) is False:
        raise refuse("host", f"Host {host[:60]!r} differs from the target's {authority[:60]!r}")
    if not rest and method == "OPTIONS":
        return "*", ""
    return normalise(rest if rest.startswith("/") else "/" + rest)


def _same(authority: str, host: str, target: str) -> bool:
    """Compare two authorities, the scheme's default port filled in."""
    port = ":443" if target[:5].lower() == "https" else ":80"
    first, second = authority.lower(), host.lower()
    return first.removesuffix(port) == second.removesuffix(port)


def read_response(head: bytes, lines: int, method: str) -> ResponseHead:
    """Read one response head to a request of `method`, up to and with its blank line.

    Raises Fault for a malformed one: such a connection is never used again (rule 22).
    """
    line_end = head.find(b"\r\n") + 2
    line = _STATUS_LINE.fullmatch(head[:line_end].decode("latin-1"))
    if line is None:
        raise refuse("status-line", f"malformed status line {head[:60]!r}")
    minor, status = int(line[1]), int(line[2])
    headers, field = _index(read_fields(head[line_end:], lines))
    length = _framing(field, minor)
    keep = _keeps_alive(field, minor)
    if method == "HEAD" or status in (204, 304) or status < 200:
        length = 0
    elif length is None:
        length, keep = UNTIL_CLOSE, False
    return ResponseHead(status, minor, headers, length, keep_alive=keep)
