"""The load client's strict reading of responses."""

import pytest

from switchgear.drills.reply import CutShort, Malformed, Reply, ReplyReader

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Id:  7 \r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;a=b\r\nhel\r\n02\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)


def fed(data: bytes, method: str = "GET", piece: int = 0) -> Reply | None:
    """Feed a response at once, or in pieces; nothing may come before its end."""
    reader = ReplyReader()
    reader.expect(method)
    size = piece or len(data)
    for at in range(0, len(data), size):
        reply = reader.feed(data[at : at + size])
        if reply is not None:
            assert at + size >= len(data)
            return reply
    return None


@pytest.mark.parametrize("piece", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("data", [PLAIN, CHUNKED])
def test_a_response_reads_the_same_in_any_pieces(data: bytes, piece: int) -> None:
    reply = fed(data, piece=piece)
    assert reply is not None
    assert (reply.status, reply.body, reply.keep) == (200, b"hello", True)


def test_headers_are_told_in_lower_case_without_padding() -> None:
    reply = fed(PLAIN)
    assert reply is not None
    assert reply.headers["x-id"] == "7"


@pytest.mark.parametrize(
    ("data", "method"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET"),
        (b"HTTP/1.1 304\r\nContent-Length: 5\r\n\r\n", "GET"),
        (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "GET"),
    ],
)
def test_some_responses_have_no_body(data: bytes, method: str) -> None:
    reply = fed(data, method)
    assert reply is not None
    assert reply.body == b""


def test_an_interim_response_is_passed_over() -> None:
    reply = fed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" + PLAIN)
    assert reply is not None
    assert reply.status == 200
    assert "link" not in reply.headers


@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"]
)
def test_a_connection_that_will_close_is_not_kept(head: bytes) -> None:
    reply = fed(head + b"Content-Length: 2\r\n\r\nok")
    assert reply is not None
    assert not reply.keep


def test_without_framing_the_body_ends_with_the_connection() -> None:
    reader = ReplyReader()
    reader.expect("GET")
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhel") is None
    assert reader.feed(b"lo") is None
    reply = reader.end()
    assert reply is not None
    assert (reply.body, reply.keep) == (b"hello", False)


@pytest.mark.parametrize("end", [0, 1, 20, 50, len(PLAIN) - 1])
@pytest.mark.parametrize("data", [PLAIN, CHUNKED])
def test_a_connection_that_ends_before_the_response_is_a_cut(data: bytes, end: int) -> None:
    reader = ReplyReader()
    reader.expect("GET")
    assert reader.feed(data[:end]) is None
    with pytest.raises(CutShort, match="before the" if end == 0 else "in the middle"):
        reader.end()


def test_the_end_of_an_idle_connection_is_no_cut() -> None:
    reader = ReplyReader()
    reader.expect("GET")
    assert reader.feed(PLAIN) is not None
    assert reader.end() is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"HTTP/2 200 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 99 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "more than once"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", "content length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", "transfer coding"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx",
            "more than once",
        ),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "protocol switch"),
        (CHUNKED.replace(b"02\r\n", b"2x\r\n"), "chunk size"),
        (CHUNKED.replace(b"02\r\n", b"01\r\n"), "longer than its size"),
        (CHUNKED.replace(b"Trailer: x", b"Trailer"), "trailer line"),
        (PLAIN + b"HTTP/1.1 200 OK\r\n", "after the response"),
        (b"x" * 70_000, "a head of more than"),
    ],
)
def test_a_response_that_breaks_a_rule_is_malformed(data: bytes, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        fed(data)


def test_bytes_that_nobody_asked_for_are_malformed() -> None:
    with pytest.raises(Malformed, match="nobody asked for"):
        ReplyReader().feed(PLAIN)


def test_one_reader_reads_one_response_after_another() -> None:
    reader = ReplyReader()
    for _ in range(3):
        reader.expect("GET")
        assert reader.feed(CHUNKED) is not None
