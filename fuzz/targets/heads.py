"""Targets for what stands before the blank line: heads, field lines and targets."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

import h11

from fuzz.cuts import reader
from switchgear.http.fields import read_fields
from switchgear.http.head import Memo
from switchgear.http.heads import (
    CHUNKED,
    UNTIL_CLOSE,
    RequestHead,
    incomplete,
    read_request,
    read_response,
)
from switchgear.http.settings import ServerSettings
from switchgear.http.target import normalise
from switchgear.policy.fault import Fault

__all__ = ["field_lines", "request_heads", "response_heads", "targets"]

LIMITS: Final = (
    ServerSettings(),
    ServerSettings(head_bytes=512, head_lines=6, target_bytes=64, connect_method=True),
)
METHODS: Final = ("GET", "HEAD", "POST", "CONNECT")
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(rb"[\t -~\x80-\xff]*")
_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
_CANON: Final = b"X-One: 1\r\nContent-Length: 12\r\nX-Two: \r\n\r\n"
_READ: Final = [("x-one", "1"), ("content-length", "12"), ("x-two", "")]

Pairs = list[tuple[str, str]]


def request_heads(data: bytes) -> None:
    """Read a request head: strictly, alike with and without a memo, and as h11 reads it."""
    (flavour,), data = reader(data, 1)
    limits = LIMITS[flavour & 1]
    end = data.find(b"\r\n\r\n") + 4
    if end == 3 or data.startswith(b"\r\n"):
        _refused_for_good(data, limits)
        return
    wire = data[:end]
    head = _request(wire, limits)
    # A memo must not change what is read, neither by this head nor for the next one.
    memo = Memo()
    _request(b"GET /m HTTP/1.1\r\nHost: a\r\n\r\n", limits, memo)
    for _ in range(2):
        again = _request(wire, limits, memo)
        assert (again and again.told()) == (head and head.told())
    if head is None:
        return
    for size in {1, end // 2, end - 4, end - 1, flavour % end}:
        early = incomplete(wire[:size], 0, max(0, size - 7), limits)
        # The blank line that is tolerated before a head is the connection's to skip.
        assert early is None, f"a good head was refused after {size} bytes: {early.detail}"
    # It costs more than all the rest, so that not every input has it.
    _check_request(wire, head, limits, second=flavour & 6 == 0)


def _refused_for_good(data: bytes, limits: ServerSettings) -> None:
    """See that what cannot become good is refused whatever else comes."""
    if incomplete(data, 0, 0, limits) is None:
        return
    head = _request(data + b"\r\n\r\n", limits)
    assert head is None or data.startswith(b"\r\n"), "refused early, and taken when it was whole"


def _request(wire: bytes, limits: ServerSettings, memo: Memo | None = None) -> RequestHead | None:
    try:
        return read_request(wire, limits, memo)
    except Fault as fault:
        _check_fault(fault)
        return None


def _check_fault(fault: Fault) -> None:
    status, reason = fault.extra["status"], fault.extra["reason"]
    assert status in (400, 408, 413, 414, 417, 431, 505), status
    assert isinstance(reason, str)
    assert re.fullmatch(r"[a-z-]+", reason), reason


def _check_pairs(pairs: Pairs) -> None:
    for name, value in pairs:
        assert _TOKEN.fullmatch(name.encode("latin-1")), name
        assert name == name.lower()
        assert _VALUE.fullmatch(value.encode("latin-1")), value
        assert value == value.strip(" \t")


def _check_request(wire: bytes, head: RequestHead, limits: ServerSettings, *, second: bool) -> None:
    fields = head.fields
    pairs = list(fields.headers)
    _check_pairs(pairs)
    names = [name for name, _ in pairs]
    assert len(wire) <= limits.head_bytes
    assert len(pairs) <= limits.head_lines
    assert len(head.target) <= limits.target_bytes
    assert re.fullmatch(r"[A-Z][A-Z0-9_-]*", head.method)
    assert names.count("host") == 1 or (head.minor == 0 and "host" not in names)
    assert not ({"content-length", "transfer-encoding"} <= set(names))
    assert fields.length == CHUNKED or 0 <= fields.length < 10**18
    assert (fields.length == CHUNKED) == ("transfer-encoding" in names)
    if head.method != "CONNECT" and head.path != "*":
        _check_normal(head.path, head.query)
    if second:
        _second_opinion(wire, head, pairs)


def _second_opinion(wire: bytes, head: RequestHead, pairs: Pairs) -> None:
    length = head.fields.length
    theirs = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    theirs.receive_data(wire)
    event = theirs.next_event()
    assert isinstance(event, h11.Request)
    assert event.method == head.method.encode("ascii")
    assert event.target == head.target.encode("ascii")
    assert event.http_version == b"1.%d" % head.minor
    assert [(name, value) for name, value in event.headers] == _as_h11(pairs)
    if length <= 0 and length != CHUNKED:
        assert isinstance(theirs.next_event(), h11.EndOfMessage)
    else:
        assert theirs.next_event() is h11.NEED_DATA


def _as_h11(pairs: Pairs) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in pairs]


def response_heads(data: bytes) -> None:
    """Read a response head: strictly, and as h11 reads it."""
    (flavour,), data = reader(data, 1)
    method = METHODS[flavour % len(METHODS)]
    lines = (100, 6)[flavour >> 2 & 1]
    end = data.find(b"\r\n\r\n") + 4
    wire = data + b"\r\n\r\n" if end == 3 else data[:end]
    try:
        head = read_response(wire, lines, method)
    except Fault as fault:
        _check_fault(fault)
        return
    pairs = list(head.headers)
    _check_pairs(pairs)
    assert len(pairs) <= lines
    assert 100 <= head.status <= 999
    bodiless = method == "HEAD" or head.status in (204, 304) or head.status < 200
    assert head.length == 0 if bodiless else head.length >= UNTIL_CLOSE
    assert not (head.length == UNTIL_CLOSE and head.keep_alive)
    if head.status < 200 or head.status > 599 or method == "CONNECT":
        return  # which h11 reads by rules of its own
    theirs = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    theirs.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    theirs.send(h11.EndOfMessage())
    theirs.receive_data(wire)
    event = theirs.next_event()
    assert isinstance(event, h11.Response)
    assert event.status_code == head.status
    assert [(name, value) for name, value in event.headers] == _as_h11(pairs)
    after = theirs.next_event()
    assert isinstance(after, h11.EndOfMessage) == (head.length == 0), after


def field_lines(data: bytes) -> None:
    """Read field lines: as a plain reader of ours does, and leaving nothing behind."""
    (flavour,), data = reader(data, 1)
    most = (100, 3)[flavour & 1]
    end = data.find(b"\r\n\r\n") + 4
    block = b"\r\n" if data.startswith(b"\r\n") else data + b"\r\n\r\n" if end == 3 else data[:end]
    got = _fields(block, most)
    assert _fields(_CANON, 100) == _READ, "what was read before has changed what is read now"
    assert _fields(block, most) == got
    plain = _plainly(block)
    if got is not None:
        assert plain == got
        assert len(got) <= most
    elif plain is not None and len(plain) <= most:
        # Refused beyond the grammar is only what frames a message or changes the protocol.
        names = {name for name, _ in plain}
        assert names & {"content-length", "transfer-encoding"}, f"refused without need: {block!r}"


def _fields(block: bytes, most: int) -> Pairs | None:
    try:
        pairs = read_fields(block, most)
    except Fault as fault:
        _check_fault(fault)
        return None
    _check_pairs(pairs)
    return pairs


def _plainly(block: bytes) -> Pairs | None:
    pairs = []
    for line in block[:-2].split(b"\r\n")[:-1]:
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        name, value = found[1].decode("ascii"), found[2].decode("latin-1")
        pairs.append((name.lower(), value.strip(" \t")))
    return pairs


def targets(data: bytes) -> None:
    """Normalise a target: into a form that stays, and has nothing in it that is refused."""
    text = data.decode("latin-1")
    if not text.startswith("/"):
        text = f"/{text}"  # no other form is given to it
    try:
        path, query = normalise(text)
    except Fault as fault:
        _check_fault(fault)
        return
    _check_normal(path, query)


def _check_normal(path: str, query: str) -> None:
    again = f"{path}?{query}" if query else path
    assert normalise(again) == (path, query), f"{path!r} has another normal form"
    assert path.isascii()
    assert query.isascii()
    assert not re.search(r'[\x00-\x20\x7f"#<>\\^`{|}\[\];?]', path), path
    assert not re.search(r'[\x00-\x20\x7f"#<>]', query), query
    assert "//" not in path
    octets = unquote_to_bytes(path)
    octets.decode("utf-8")
    assert not set(octets) & {*range(0x20), 0x7F, 0x5C}, path
    assert octets.count(b"/") == path.count("/"), path
    assert not {b".", b".."} & set(octets.split(b"/")), path
    for escape in re.findall(r"%..?", path):
        assert re.fullmatch(r"%[0-9A-F]{2}", escape), path
        assert not re.fullmatch(r"[A-Za-z0-9._~-]", chr(int(escape[1:], 16))), path
