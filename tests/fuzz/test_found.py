"""What millions of inputs have found, each as a case of its own: `docs/fuzzing.md` lists them."""

import pytest

from switchgear.gateway.forward import outwards
from switchgear.http import bodies
from switchgear.http.bodies import Chunks
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response
from switchgear.http.problem import problem
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.testing.virtual import advance
from tests.unit.http.wire import serve


@pytest.mark.virtual
async def test_an_empty_line_before_a_request_may_come_in_two_pieces() -> None:
    seen: list[str] = []

    async def handler(call: Call[Request]) -> Response:
        seen.append(call.payload.path)
        return Response(200)

    _, connection, wire = serve(handler)
    for piece in (b"\r", b"\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n\r", b"\n", b"\r"):
        connection.data_received(piece)
    assert seen == ["/a"]
    assert not wire.closed
    connection.data_received(b"\n")
    await advance()
    assert b"HTTP/1.1 400 " in wire.sent
    connection.cut()
    await advance()


@pytest.mark.parametrize("size", [bodies.TRAILER_BYTES - 1, bodies.TRAILER_BYTES])
def test_trailers_up_to_the_limit_are_taken_however_they_come(size: int) -> None:
    trailers = b"a: ".ljust(size, b"b") + b"\r\n\r\n"
    decoder = Chunks()
    decoder.feed(b"0\r\n")
    for at in range(len(trailers)):
        assert decoder.feed(trailers[at : at + 1]) == (b"", b"")
    assert decoder.done
    whole = Chunks()
    whole.feed(b"0\r\n" + trailers)
    assert whole.trailers == decoder.trailers


@pytest.mark.parametrize("name", ["Content-Length: 1", "transfer-encoding: chunked"])
def test_trailers_that_frame_a_message_are_refused(name: str) -> None:
    with pytest.raises(Fault) as caught:
        Chunks().feed(f"0\r\na: b\r\n{name}\r\n\r\n".encode())
    assert caught.value.extra["reason"] == name.partition(":")[0].lower()


def test_an_upstream_cannot_claim_what_the_gateway_adds_for_its_own_hop() -> None:
    claims = "x-request-id, X-Frame-Options, content-security-policy, x-own"
    answer = Headers({"connection": claims, "x-own": "1", "x-kept": "2"})
    wire = outwards(answer, [("x-request-id", "ours")], secure=False).wire()
    assert b"x-request-id: ours\r\n" in wire
    assert b"x-frame-options: DENY\r\n" in wire
    assert b"content-security-policy: " in wire
    assert b"x-kept: 2\r\n" in wire
    assert b"x-own" not in wire


def test_a_fault_of_another_hop_cannot_break_the_answer_that_tells_of_it() -> None:
    allow = ["GET", "X\r\nY: z", "M-SEARCH", 3, "get it", ""]
    answer = problem(Fault(Code.UNIMPLEMENTED, extra={"status": 405, "allow": allow}))
    assert answer.headers.get("allow") == "GET, M-SEARCH"
    assert answer.headers.wire().count(b"\n") == len(answer.headers)


@pytest.mark.virtual
async def test_a_handlers_length_in_digits_of_another_alphabet_is_none() -> None:
    async def handler(call: Call[Request]) -> Response:
        return Response(200, Headers({"content-length": "\xb2"}))

    server, connection, wire = serve(handler)
    connection.data_received(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.sent.startswith(b"HTTP/1.1 200 ")
    assert b"content-length" not in wire.sent
    assert server.counters.defects == 0
    connection.cut()
    await advance()
