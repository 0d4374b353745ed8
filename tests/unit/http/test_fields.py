"""Field lines: what one head said must not be heard in the next, whoever sent it."""

from hypothesis import example, given
from hypothesis import strategies as st

from switchgear.http import fields
from switchgear.http.fields import read_fields
from switchgear.policy.fault import Fault

LINES = (
    b"Connection: close", b"connection: clOse", b"Connection: keep-alive", b"Connection: upgrade",
    b"Connection: close, upgrade", b"Upgrade: websocket", b"Content-Length: 100000",
    b"content-length: 999999999999999999", b"Content-Length: x", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip", b"Proxy-Connection: close", b"Trailer: x", b"Host: a", b"Bad line",
)  # fmt: skip
HEADS = st.lists(st.lists(st.sampled_from(LINES), max_size=4).map(tuple), max_size=12)
GREEDY = (b"Connection: close", b"Content-Length: 100000")


def read(lines: tuple[bytes, ...]) -> object:
    block = b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    try:
        return read_fields(block, 100)
    except Fault as fault:
        return fault.detail


@given(HEADS)
@example([GREEDY] * 4)
def test_each_head_is_read_as_if_it_were_the_first(heads: list[tuple[bytes, ...]]) -> None:
    found = [read(lines) for lines in heads]
    for lines, told in zip(heads, found, strict=True):
        fields._fields = fields._Fields()
        assert read(lines) == told
