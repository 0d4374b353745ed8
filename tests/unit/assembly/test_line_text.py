"""A request line that is written by hand is the one that would have been encoded."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.assembly.bodies.line_text import LineText
from switchgear.assembly.bodies.serving import request_log
from switchgear.gateway.passage import Passage
from switchgear.http.exchanged import Exchanged
from switchgear.http.message import Request
from switchgear.identity.internal import Vouched
from switchgear.policy.call import Call, Principal, Trace
from switchgear.telemetry.logs import Log, json_line

TRACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
STAMP = "2026-11-29T22:50:26.123Z"


class Kept:
    """Lines, as they were put."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, line: bytes) -> bool:
        self.lines.append(line)
        return True


def exchanged(
    *,
    path: str = "/a",
    route: str = "GET /a",
    peer: str = "192.0.2.1",
    status: int = 200,
    sent: int = 7,
    elapsed: float = 0.5,
    upstream: float = 0.25,
    attempts: int = 1,
    endpoint: str | None = "service-1",
    subject: str | None = "ada",
    traced: bool = True,
    fault: str = "",
    detail: str = "",
    noted: str = "",
    left: bool = False,
    cut: bool = False,
) -> Exchanged:
    passage = Passage(route, None, "an-id")
    passage.vouched = Vouched(None if subject is None else Principal(subject))
    passage.upstream, passage.attempts = upstream, attempts
    passage.endpoints = [] if endpoint is None else ["service-0", endpoint]
    passage.fault, passage.detail = noted, ""
    trace = TRACE if traced else None
    call: Call[Any] = Call(Request("GET", path, peer=peer), 1.0, trace=trace, trail=passage)
    return Exchanged(call, status, sent, elapsed, fault, detail, "", left, cut)


def encoding(event: Any) -> bytes:
    """Encode an event as `json_line` does, without being it."""
    return json_line(event)


def both(event: Exchanged) -> tuple[bytes, bytes]:
    """Return the line as it is written, and as it is encoded."""
    written, encoded = Kept(), Kept()
    for kept, form in ((written, json_line), (encoded, encoding)):
        request_log(Log(kept, 'gate"way', form=form, wall=lambda: 1e9))(event)
    return written.lines[0], encoded.lines[0]


seldom = st.sampled_from([False, False, False, True])
texts = st.text(max_size=20)
paths = (
    st.just("/a/b%20c")
    | st.text(st.characters(max_codepoint=0x100), max_size=600)
    | st.text('/a"\\é\n', max_size=9)
)
seconds = st.floats(0, 100) | st.sampled_from([0.0, 1e-6, 0.005, 0.01, 0.1, 0.99999, 1e4, 1e9])


@given(
    path=paths,
    route=texts,
    peer=texts,
    status=st.sampled_from([200, 404, 499, 500]),
    sent=st.integers(0, 2**70),
    elapsed=seconds,
    upstream=seconds,
    attempts=st.integers(0, 5),
    endpoint=st.none() | texts,
    subject=st.none() | texts,
    traced=seldom.map(lambda it: not it),
    left=seldom,
)
def test_whatever_was_learnt_both_lines_are_the_same(**learnt: Any) -> None:
    written, encoded = both(exchanged(**learnt))
    assert json.loads(written) == json.loads(encoded)


@pytest.mark.parametrize("name", ["route", "peer", "endpoint", "subject"])
@pytest.mark.parametrize(
    "text", ['"}', "\\", "\n", "\x1b[2J", "é\u2028", "\ud800", "\x7f", "", "a"]
)
def test_no_text_breaks_out_of_its_field(name: str, text: str) -> None:
    learnt: dict[str, Any] = {name: text}
    written, encoded = both(exchanged(**learnt))
    assert json.loads(written) == json.loads(encoded)
    assert b"\n" not in written


@pytest.mark.parametrize(
    "learnt",
    [
        {"status": 500},
        {"endpoint": None},
        {"attempts": 0},
        {"traced": False},
        {"fault": "internal"},
        {"detail": "why"},
        {"noted": "unavailable"},
        {"left": True},
        {"cut": True},
        {"path": "/" + "x" * 500},
        {"path": '/"'},
        {"path": "/\\"},
        {"path": "/\n"},
        {"path": "/\x7f"},
        {"elapsed": 0.0, "upstream": 1.0},
        {"elapsed": 1e9},
    ],
)
def test_what_is_unusual_is_encoded(learnt: dict[str, Any]) -> None:
    text = LineText("gateway-1")
    assert text.write(STAMP, exchanged()) is not None
    assert text.write(STAMP, exchanged(**learnt)) is None
    written, encoded = both(exchanged(**learnt))
    assert written == encoded


def test_what_is_usual_is_written_byte_for_byte_as_it_is_encoded() -> None:
    for number in range(2000):
        own, upstream = number / 1e5, (number * 7 % 5000) / 1e5
        written, encoded = both(
            exchanged(elapsed=own + upstream, upstream=upstream, sent=number, subject=f"s{number}")
        )
        assert written == encoded


def test_only_so_many_texts_are_kept() -> None:
    text = LineText("gateway-1")
    for number in range(9000):
        line = text.write(STAMP, exchanged(subject=f"subject-{number}"))
        assert line is not None
        assert json.loads(line)["principal"] == f"subject-{number}"
    assert len(text._quoted) <= 4096
