"""Field lines: read by httptools and once more by us, for heads and trailers alike.

No leniency of a library version decides what we accept. Source: RFC 9112 section 5.
"""

import re
from typing import Final

import httptools

from switchgear.http.names import COMMON
from switchgear.http.reader import READER
from switchgear.http.refusals import refuse

__all__ = ["TEXT", "FieldReader", "read_fields"]

TEXT: Final = bytes({9, *range(0x20, 0x7F), *range(0x80, 0x100)})
_TOKEN: Final = b"!#$%&'*+-.^_`|~" + bytes(
    {*range(0x30, 0x3A), *range(0x41, 0x5B), *range(0x61, 0x7B)}
)

# Names seen before, in lower case. It stops growing: a stranger must not fill it.
_NAMES: Final[dict[bytes, str]] = {
    spelled.encode(): name for name in COMMON for spelled in (name, name.title())
}
_NAMES_KEPT: Final = 512


class FieldReader:
    """The receiver of httptools' callbacks.

    A whole head is fed at once, so all heads of a thread can share it. (In between another thread
    may run, and feed a head of its own.)
    """

    __slots__ = ("pairs", "parser")

    def __init__(self) -> None:
        self.pairs: list[tuple[bytes, bytes]] = []
        self.parser = httptools.HttpResponseParser(self)
        # One parser reads every head: "keep alive" is our decision, not its state.
        self.parser.set_dangerous_leniencies(lenient_keep_alive=True)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value))


# A 204 has no body whatever its fields say, so the parser is ready for the next head at once.
_BODILESS: Final = b"HTTP/1.1 204 \r\n"


def read_fields(block: bytes, lines: int) -> list[tuple[str, str]]:
    """Read field lines up to and with the blank line: names in lower case, values trimmed.

    Raises Fault for anything that RFC 9112 section 5 forbids, and for more than `lines`.
    """
    fields = READER.own
    if fields is None:
        fields = READER.own = FieldReader()
    pairs: list[tuple[bytes, bytes]] = []
    fields.pairs = pairs
    try:
        fields.parser.feed_data(_BODILESS + block)
    except httptools.HttpParserError as error:
        READER.own = None  # it is amid a head for good
        raise refuse(_why(block), f"malformed header fields: {error}") from None
    if b"close" in block.lower():
        # After a `Connection: close` it does not forget the Content-Length: the next one's digits
        # would be added to its own, and a few such heads would spoil a stranger's.
        READER.own = None
    if len(pairs) > lines:
        raise refuse("too-many-headers", f"{len(pairs)} header lines, {lines} allowed", status=431)
    if block.translate(None, TEXT) != b"\r\n" * (len(pairs) + 1):
        READER.own = None
        raise refuse(_why(block), "malformed header fields: stray control byte or line break")
    known = _NAMES.get
    return [
        (known(raw) or _name(raw), value.decode("latin-1").strip(" \t")) for raw, value in pairs
    ]


def _name(raw: bytes) -> str:
    if not raw or raw.translate(None, _TOKEN):
        raise refuse("header-name", f"the header name {raw[:40]!r} is no token")
    name = raw.lower().decode("ascii")
    if len(_NAMES) < _NAMES_KEPT and len(raw) <= 64:
        _NAMES[raw] = name
    return name


def _why(block: bytes) -> str:
    """Name what is wrong with fields that were refused; only run once they are."""
    if re.search(rb"\r\n[ \t]|\A[ \t]", block):
        return "folding"
    if re.search(rb"\r(?!\n)|(?<!\r)\n", block):
        return "line-break"
    if re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", block):
        return "control-byte"
    names = [line.partition(b":")[0].lower() for line in block.split(b"\r\n") if line]
    if any(name.endswith((b" ", b"\t")) for name in names):
        return "space-before-colon"
    if any(not name or name.translate(None, _TOKEN) for name in names):
        return "header-name"
    if b"transfer-encoding" in names:
        return "transfer-encoding"
    return "content-length" if b"content-length" in names else "malformed"
