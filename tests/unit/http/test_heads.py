"""Rules 20, 21 and 24 as tables of raw bytes: what is ambiguous is refused, by name."""

import pytest

from switchgear.http.fields import FieldReader
from switchgear.http.heads import (
    CHUNKED,
    UNTIL_CLOSE,
    RequestHead,
    ResponseHead,
    read_request,
    read_response,
)
from switchgear.http.reader import READER
from switchgear.http.refusals import reason_of, status_of
from switchgear.http.settings import ServerSettings
from switchgear.policy.fault import Code, Effect, Fault

HOST = b"Host: a.test\r\n"


def request(head: bytes, *, connect: bool = False) -> RequestHead:
    return read_request(head, ServerSettings(connect_method=connect))


def response(head: bytes, method: str = "GET") -> ResponseHead:
    return read_response(head, 100, method)


REFUSED = [
    # rule 20: the target and the authority
    ("no host in 1.1", b"GET / HTTP/1.1\r\n\r\n", "host"),
    ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "host"),
    ("two hosts in two cases", b"GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", "host"),
    ("an empty host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "host"),
    ("an empty host in 1.0", b"GET / HTTP/1.0\r\nHost: \r\n\r\n", "host"),
    ("a list of hosts", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "host"),
    ("a host with userinfo", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "host"),
    ("a host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "host"),
    ("a host with a bad port", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "host"),
    ("a host with two ports", b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", "host"),
    ("a bare IPv6 host", b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", "host"),
    ("another host than the target", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "host"),
    ("another port than the target", b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", "host"),
    ("a target with userinfo", b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
    ("a target without a host", b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
    ("GET *", b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", "target"),
    ("a bare authority", b"GET a.test:80 HTTP/1.1\r\n" + HOST + b"\r\n", "target"),
    ("another scheme", b"GET ftp://a.test/ HTTP/1.1\r\n" + HOST + b"\r\n", "target"),
    ("a relative target", b"GET x HTTP/1.1\r\n" + HOST + b"\r\n", "target"),
    ("CONNECT", b"CONNECT a.test:80 HTTP/1.1\r\n" + HOST + b"\r\n", "connect"),
    # the first line
    ("two spaces", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", "request-line"),
    ("a tab", b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", "request-line"),
    ("a space in the target", b"GET / x HTTP/1.1\r\n" + HOST + b"\r\n", "request-line"),
    ("a space at the end", b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", "request-line"),
    ("no version", b"GET /\r\n" + HOST + b"\r\n", "request-line"),
    ("a lower-case method", b"get / HTTP/1.1\r\n" + HOST + b"\r\n", "request-line"),
    ("a method that is no token", b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n", "request-line"),
    ("a bare LF after it", b"GET / HTTP/1.1\n" + HOST + b"\r\n", "request-line"),
    ("a bare CR in it", b"GET /\r HTTP/1.1\r\n" + HOST + b"\r\n", "target"),
    ("a NUL in the target", b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n", "target"),
    ("a byte over 127 in the target", b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", "target"),
    ("a lower-case protocol", b"GET / http/1.1\r\n" + HOST + b"\r\n", "request-line"),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", "version"),
    ("HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\n", "version"),
    ("HTTP/0.9 with a version", b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", "version"),
]

# rule 21: the fields
FIELDS = [
    ("length and coding", b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
     "transfer-encoding"),
    ("coding and length", b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
     "transfer-encoding"),
    ("two lengths", b"Content-Length: 1\r\nContent-Length: 2\r\n", "content-length"),
    ("two equal lengths", b"Content-Length: 1\r\nContent-Length: 1\r\n", "content-length"),
    ("a list of lengths", b"Content-Length: 1, 1\r\n", "content-length"),
    ("a signed length", b"Content-Length: +1\r\n", "content-length"),
    ("a negative length", b"Content-Length: -1\r\n", "content-length"),
    ("a hexadecimal length", b"Content-Length: 0x1\r\n", "content-length"),
    ("a length with an underscore", b"Content-Length: 1_0\r\n", "content-length"),
    ("an empty length", b"Content-Length: \r\n", "content-length"),
    ("a length beyond all use", b"Content-Length: " + b"9" * 30 + b"\r\n", "content-length"),
    ("a length in other digits", b"Content-Length: \xb2\r\n", "content-length"),
    ("another coding", b"Transfer-Encoding: gzip\r\n", "transfer-encoding"),
    ("two codings", b"Transfer-Encoding: gzip, chunked\r\n", "transfer-encoding"),
    ("chunked twice", b"Transfer-Encoding: chunked, chunked\r\n", "transfer-encoding"),
    ("chunked not last", b"Transfer-Encoding: chunked, identity\r\n", "transfer-encoding"),
    ("a cased coding", b"Transfer-Encoding: Chunked\r\n", "transfer-encoding"),
    ("a coding with a vertical tab", b"Transfer-Encoding: \x0bchunked\r\n", "control-byte"),
    ("two coding headers", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
     "transfer-encoding"),
    ("an empty coding", b"Transfer-Encoding:\r\n", "transfer-encoding"),
    ("folding by a space", b"A: b\r\n c\r\n", "folding"),
    ("folding by a tab", b"A: b\r\n\tc\r\n", "folding"),
    ("a first line that is folded", b" A: b\r\n", "folding"),
    ("a bare LF", b"A: b\nC: d\r\n", "line-break"),
    ("a bare CR", b"A: b\rC: d\r\n", "line-break"),
    ("CR CR LF", b"A: b\r\r\n", "line-break"),
    ("a NUL in a value", b"A: b\0\r\n", "control-byte"),
    ("a control byte in a value", b"A: \x01b\r\n", "control-byte"),
    ("a DEL in a value", b"A: b\x7f\r\n", "control-byte"),
    ("a space before the colon", b"A : b\r\n", "space-before-colon"),
    ("a tab before the colon", b"A\t: b\r\n", "space-before-colon"),
    ("a length with a space before the colon", b"Content-Length : 1\r\n", "space-before-colon"),
    ("a name with a space in it", b"A b: c\r\n", "header-name"),
    ("a name with a bracket", b"A(: b\r\n", "header-name"),
    ("a name beyond ASCII", b"\xc3\xa4: b\r\n", "header-name"),
    ("no name", b": b\r\n", "header-name"),
    ("no colon", b"A\r\n", "malformed"),
    ("two credentials", b"Authorization: a\r\nAuthorization: b\r\n", "authorization"),
    ("two content types", b"Content-Type: a/b\r\nContent-Type: c/d\r\n", "content-type"),
    ("an unknown expectation", b"Expect: tea\r\n", "expectation"),
]  # fmt: skip


@pytest.mark.parametrize(("head", "reason"), [pytest.param(h, r, id=n) for n, h, r in REFUSED])
def test_a_request_that_could_be_read_two_ways_is_refused(head: bytes, reason: str) -> None:
    with pytest.raises(Fault) as caught:
        request(head)
    assert reason_of(caught.value) == reason
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.effect is Effect.NONE


@pytest.mark.parametrize(("lines", "reason"), [pytest.param(h, r, id=n) for n, h, r in FIELDS])
def test_fields_that_could_be_read_two_ways_are_refused(lines: bytes, reason: str) -> None:
    with pytest.raises(Fault) as caught:
        request(b"POST / HTTP/1.1\r\n" + HOST + lines + b"\r\n")
    assert reason_of(caught.value) == reason
    assert request(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n").path == "/"  # the parser is not stuck


@pytest.mark.parametrize(("lines", "reason"), [pytest.param(h, r, id=n) for n, h, r in FIELDS[:-1]])
def test_an_upstream_is_held_to_the_same_rules(lines: bytes, reason: str) -> None:
    with pytest.raises(Fault) as caught:
        response(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")
    assert reason_of(caught.value) == reason


ACCEPTED = [
    ("origin form", b"GET /a?b=c HTTP/1.1\r\n" + HOST + b"\r\n", ("/a", "b=c", 0, True)),
    ("absolute form", b"GET http://a.test/x HTTP/1.1\r\n" + HOST + b"\r\n", ("/x", "", 0, True)),
    ("absolute form, default port", b"GET http://A.test:80/ HTTP/1.1\r\n" + HOST + b"\r\n",
     ("/", "", 0, True)),
    ("absolute form, no path", b"GET http://a.test?q HTTP/1.1\r\n" + HOST + b"\r\n",
     ("/", "q", 0, True)),
    ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", ("*", "", 0, True)),
    ("OPTIONS, absolute", b"OPTIONS http://a.test HTTP/1.1\r\n" + HOST + b"\r\n",
     ("*", "", 0, True)),
    ("1.0 without a host", b"GET / HTTP/1.0\r\n\r\n", ("/", "", 0, False)),
    ("1.0 kept alive", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", ("/", "", 0, True)),
    ("closing", b"GET / HTTP/1.1\r\nConnection: x, Close\r\n" + HOST + b"\r\n",
     ("/", "", 0, False)),
    ("a length", b"POST / HTTP/1.1\r\nContent-Length: 7\r\n" + HOST + b"\r\n", ("/", "", 7, True)),
    ("chunked", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n",
     ("/", "", CHUNKED, True)),
    ("an IPv6 host", b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", ("/", "", 0, True)),
    ("an unknown method", b"BREW /pot HTTP/1.1\r\n" + HOST + b"\r\n", ("/pot", "", 0, True)),
    ("an upgrade",
     b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" + HOST + b"\r\n",
     ("/", "", 0, True)),
]  # fmt: skip


@pytest.mark.parametrize(("head", "read"), [pytest.param(h, r, id=n) for n, h, r in ACCEPTED])
def test_a_plain_request_is_read(head: bytes, read: tuple[str, str, int, bool]) -> None:
    got = request(head)
    assert (got.path, got.query, got.fields.length, got.fields.keep_alive) == read
    assert request(head).told() == got.told()  # the shared parser carries nothing over


def test_values_are_trimmed_and_names_lowered() -> None:
    got = request(b"GET / HTTP/1.1\r\nHOST:a.test\r\nX-Odd: \t b \xe4 c\t \r\nX-Odd:d\r\n\r\n")
    assert list(got.fields.headers) == [("host", "a.test"), ("x-odd", "b ä c"), ("x-odd", "d")]
    assert got.fields.headers.get("x-odd") == "b ä c, d"


def test_connect_is_served_where_it_was_configured() -> None:
    got = request(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", connect=True)
    assert got.path == "a.test:443"
    with pytest.raises(Fault):
        request(b"CONNECT /x HTTP/1.1\r\nHost: a.test\r\n\r\n", connect=True)


def test_the_number_of_lines_is_limited() -> None:
    lines = b"".join(b"X-%d: y\r\n" % n for n in range(100))
    with pytest.raises(Fault) as caught:
        request(b"GET / HTTP/1.1\r\n" + HOST + lines + b"\r\n")
    assert status_of(caught.value) == 431
    assert request(b"GET / HTTP/1.0\r\n" + lines + b"\r\n").minor == 0


@pytest.mark.parametrize(
    ("lines", "reason"),
    [(b"A: b\x01c\r\n", "control-byte"), (b"A: b\nC: d\r\n", "line-break"),
     (b"A: b\x7f\r\n", "control-byte")],
)  # fmt: skip
def test_a_library_that_turns_lenient_does_not_make_us_so(
    lines: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = FieldReader()
    lenient.parser.set_dangerous_leniencies(
        lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_optional_lf_after_cr=True
    )
    lenient.parser.feed_data(b"HTTP/1.1 204 \r\n" + lines + b"\r\n")  # it would pass
    monkeypatch.setattr(READER, "own", lenient)
    with pytest.raises(Fault) as caught:
        request(b"GET / HTTP/1.1\r\n" + HOST + lines + b"\r\n")
    assert reason_of(caught.value) == reason


def test_a_stranger_cannot_fill_the_memory_of_names() -> None:
    from switchgear.http import fields

    for number in range(2000):
        request(b"GET / HTTP/1.1\r\nX-Fill-%d: y\r\n" % number + HOST + b"\r\n")
    assert len(fields._NAMES) <= fields._NAMES_KEPT


RESPONSES = [
    ("a length", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "GET", (200, 3, True)),
    ("no reason", b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", "GET", (200, 3, True)),
    ("an empty reason", b"HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\n", "GET", (200, 3, True)),
    ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET",
     (200, CHUNKED, True)),
    ("until close", b"HTTP/1.1 200 OK\r\n\r\n", "GET", (200, UNTIL_CLOSE, False)),
    ("an answer to HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD", (200, 0, True)),
    ("chunks announced to HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD",
     (200, 0, True)),
    ("204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", "GET",
     (204, 0, True)),
    ("304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "GET", (304, 0, True)),
    ("1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", "GET", (200, 3, False)),
    ("closing", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n", "GET",
     (200, 3, False)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("head", "method", "read"), [pytest.param(h, m, r, id=n) for n, h, m, r in RESPONSES]
)
def test_a_response_is_read(head: bytes, method: str, read: tuple[int, int, bool]) -> None:
    got = response(head, method)
    assert (got.status, got.length, got.keep_alive) == read


@pytest.mark.parametrize(
    "line",
    [b"HTTP/2 200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1  200 OK", b"200 OK",
     b"HTTP/1.1 200 O\rK", b"HTTP/1.1 2000 OK", b"http/1.1 200 OK", b"HTTP/1.1 200 \x00"],
)  # fmt: skip
def test_a_malformed_status_line_is_refused(line: bytes) -> None:
    with pytest.raises(Fault) as caught:
        response(line + b"\r\nContent-Length: 0\r\n\r\n")
    assert reason_of(caught.value) == "status-line"
