"""The lines of a head that are written beforehand."""

import pytest

from switchgear.http import status
from switchgear.http.status import LINES, line, sized


@pytest.mark.parametrize("length", [0, 1, 9, 10, 4095, 4096, 1 << 40])
def test_a_length_is_written_as_it_is_each_time(length: int) -> None:
    for _ in range(2):
        assert sized(length) == f"content-length: {length}\r\n\r\n".encode()


def test_what_is_kept_of_lengths_is_bounded() -> None:
    for length in range(10_000):
        sized(length)
    assert len(status._SIZED) <= 4096


def test_every_final_status_has_its_line() -> None:
    assert LINES[200] == b"HTTP/1.1 200 OK\r\n"
    assert line(299) == b"HTTP/1.1 299 \r\n"
    for none in (199, 600):
        with pytest.raises(ValueError, match="no final status"):
            line(none)
