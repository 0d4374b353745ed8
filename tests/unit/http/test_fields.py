"""Field lines: what one head said must not be heard in the next, whoever sent it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from switchgear.http.fields import FieldReader, read_fields
from switchgear.http.reader import READER
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
        READER.own = None
        assert read(lines) == told


@pytest.mark.pure
def test_two_threads_read_each_its_own_head() -> None:
    """The one is amid a head when the other reads one."""
    begun, done = Event(), Event()

    class Slow(FieldReader):
        def on_header(self, name: bytes, value: bytes) -> None:
            super().on_header(name, value)
            begun.set()
            assert done.wait(5)

    def slow() -> object:
        READER.own = Slow()
        return read((b"A: 1", b"B: 2"))

    def quick() -> object:
        assert begun.wait(5)
        got = read((b"C: 3",))
        done.set()
        return got

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.submit(slow), threads.submit(quick)
        assert other.result(10) == [("c", "3")]
        assert one.result(10) == [("a", "1"), ("b", "2")]
