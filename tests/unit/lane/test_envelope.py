"""What travels beside and inside a message."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.lane.envelope import body_of, fault_in, headers_of, trace_of, with_fault
from switchgear.policy.call import Trace
from switchgear.policy.fault import Code, Effect, Fault

hexes = "0123456789abcdef"


class Order(msgspec.Struct):
    number: int


@given(
    trace=st.text(hexes, min_size=32, max_size=32),
    span=st.text(hexes, min_size=16, max_size=16),
    sampled=st.booleans(),
)
def test_a_trace_reads_back_as_what_it_was(trace: str, span: str, sampled: bool) -> None:
    written = Trace(trace, span, sampled)
    assert trace_of(headers_of(written)) == written


@given(st.text())
def test_what_is_no_trace_is_none_and_no_error(headers: str) -> None:
    assert trace_of(headers) is None


@pytest.mark.parametrize(
    "parent",
    ["", "00", "00-1-2-01", f"00-{'g' * 32}-{'0' * 16}-01", f"00-{'0' * 32}-{'0' * 15}-01"],
)
def test_a_trace_of_another_shape_is_none(parent: str) -> None:
    assert trace_of(msgspec.json.encode({"traceparent": parent, "new": 1}).decode()) is None


def test_no_trace_is_none() -> None:
    assert trace_of(headers_of(None)) is None


def test_a_body_is_read_or_refused_for_good() -> None:
    assert body_of(b'{"number": 7}', Order) == Order(7)
    for body in (b"", b"{", b'{"number": "7"}', b"\xff", b'"\xff"', b"[]"):
        with pytest.raises(Fault, match="cannot be read as Order") as refused:
            body_of(body, Order)
        assert (refused.value.code, refused.value.effect) == (Code.INVALID_ARGUMENT, Effect.NONE)


DEAD = Fault(
    Code.DATA_LOSS, "row \u20ac is gone", effect=Effect.DONE, origin="db", hops=("orders",)
)


def test_a_dead_letter_brings_its_fault_beside_its_trace() -> None:
    trace = Trace("a" * 32, "b" * 16, True)
    headers = with_fault(headers_of(trace), DEAD)
    assert trace_of(headers) == trace
    read = fault_in(headers)
    assert read is not None
    assert vars(read) == vars(DEAD)


def test_what_else_is_beside_a_message_stays_and_the_last_fault_counts() -> None:
    headers = with_fault('{"newer": {"a": [1]}, "fault": 1}', Fault(Code.ABORTED))
    assert msgspec.json.decode(headers) == {"newer": {"a": [1]}, "fault": {"code": "aborted"}}
    headers = with_fault(headers, DEAD)
    read = fault_in(headers)
    assert read is not None
    assert read.code is Code.DATA_LOSS


@pytest.mark.parametrize("headers", ["", "x", "[]", "1", "\ud800", '{"a":' * 9999])
def test_headers_that_cannot_be_read_lose_no_fault(headers: str) -> None:
    assert fault_in(headers) is None
    assert fault_in(with_fault(headers, DEAD)) is not None


@pytest.mark.parametrize("headers", ["{}", '{"fault": 1}', '{"fault": null}', '{"fault": {}}'])
def test_no_fault_is_none(headers: str) -> None:
    assert fault_in(headers) is None
