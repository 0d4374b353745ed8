"""Bodies that were here with their heads: where each ends, and what finding that costs."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.http import incoming
from switchgear.http.bodies import Chunks, chunk
from switchgear.http.heads import CHUNKED, Fields
from switchgear.http.incoming import begun
from switchgear.http.message import NOTHING
from switchgear.http.settings import ServerSettings
from switchgear.http.stream import Whole

pytestmark = pytest.mark.pure  # it stands in for a connection

HERE: Any = SimpleNamespace(server=SimpleNamespace(settings=ServerSettings()))
FIELDS = Fields(NOTHING, "a", CHUNKED, keep_alive=True, expects=False, upgrade="")


@given(st.lists(st.lists(st.integers(1, 5000), max_size=4), max_size=4))
def test_each_body_ends_where_the_next_message_begins(bodies: list[list[int]]) -> None:
    wire = b"".join(
        b"".join(chunk(b"x" * size) for size in sizes) + b"0\r\nX-Sum: 1\r\n\r\n"
        for sizes in bodies
    )
    at = 0
    for sizes in bodies:
        body, at, more = begun(HERE, FIELDS, wire + b"GET", at, 0.0)
        assert isinstance(body, Whole)
        assert (len(body.data), more) == (sum(sizes), None)
    assert at == len(wire)


def test_what_stands_behind_a_body_is_not_looked_through_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of 5,000 short requests that came together had all those behind it copied."""
    seen = 0

    class Counting(Chunks):
        def feed(self, data: bytes) -> tuple[bytes, bytes]:
            nonlocal seen
            seen += len(data)
            return super().feed(data)

    monkeypatch.setattr(incoming, "Chunks", Counting)
    one = chunk(b"x") + b"0\r\n\r\n"
    wire = one * 5000
    _, at, _ = begun(HERE, FIELDS, wire, 0, 0.0)
    assert at == len(one)
    assert seen <= 1024
    wire = chunk(b"x" * 100_000) + b"0\r\n\r\n" + wire
    seen = 0
    _, at, _ = begun(HERE, FIELDS, wire, 0, 0.0)
    assert seen < 3 * 100_000
