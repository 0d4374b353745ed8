"""Notes: found out of a client's fields once, never another client's, and never too much."""

import os
from itertools import product

import pytest

from switchgear.gateway.forward import inwards, outwards, trace_of
from switchgear.gateway.notes import Inward, inward, new_trace, outward
from switchgear.http.headers import Headers
from switchgear.http.message import Request
from switchgear.identity.tokens import digest_of

TRACED = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"


def fields(**more: str) -> Headers:
    return Headers({"host": "a", **{name.replace("_", "-"): value for name, value in more.items()}})


def test_they_are_made_once_for_the_same_fields_and_never_shared() -> None:
    one, other = fields(authorization="Bearer a"), fields(authorization="Bearer b")
    assert inward(one) is inward(one)
    assert inward(one) is not inward(other)
    assert inward(one).digest == digest_of("a")
    assert inward(other).digest == digest_of("b")
    twin = fields(authorization="Bearer a")
    assert (inward(twin).lines, inward(twin).digest) == (inward(one).lines, digest_of("a"))
    assert twin.notes is not one.notes


def test_fields_that_were_changed_have_no_notes_of_those_before() -> None:
    before = fields(authorization="Bearer a")
    inward(before)
    assert inward(before.also({"authorization": "Bearer b"})).digest == digest_of("b")
    assert inward(before.without("authorization")).digest is None


def test_what_was_noted_of_an_answer_is_not_taken_for_a_clients() -> None:
    both = fields(server="own")
    assert outward(both, shared=False).http
    assert isinstance(inward(both), Inward)
    assert b"own" not in outward(both, shared=False).http


@pytest.mark.parametrize(
    ("name", "value"), [("tracestate", "v=1"), ("via", "1.1 proxy"), ("via", "")]
)
def test_what_hangs_on_a_trace_or_a_circle_is_not_plain(name: str, value: str) -> None:
    noted = inward(fields(**{name: value}))
    assert not noted.plain
    assert "tracestate" not in noted.lines
    assert inward(fields(accept="*/*", traceparent=TRACED)).plain


@pytest.mark.parametrize("given", ["", "Basic a", "Bearer", "Bearer  a", "Bearer a b"])
def test_what_is_no_bearer_token_has_no_digest(given: str) -> None:
    assert inward(fields(authorization=given)).digest is None


def test_the_lines_are_what_the_general_way_would_send() -> None:
    headers = Headers(
        [
            ("host", "a"), ("x-user-id", "1"), ("x_request_id", "twin"), ("connection", "x-own"),
            ("x-own", "1"), ("x-forwarded-for", "b"), ("cookie", "a"), ("cookie", "b"),
            ("switchgear-token", "x"), ("te", "x"), ("traceparent", TRACED), ("accept", "\xe9"),
        ]
    )  # fmt: skip
    trace = trace_of(TRACED)
    sent = Headers.parsed(inwards(Request("GET", "/", headers=headers), "id", trace), None).wire()
    assert sent.decode("latin-1").startswith(inward(headers).lines + "x-forwarded-for: ")


def test_the_lines_of_an_answer_are_what_the_general_way_would_write() -> None:
    for kind, shared in product(("text/html", "application/json"), (False, True)):
        headers = fields(server="own", content_type=kind, switchgear_fault="{}", date="now")
        noted = outward(headers, shared=shared)
        assert outward(headers, shared=shared) is noted
        assert outward(fields(server="own"), shared=not shared).http != noted.http
        assert noted.dated
        assert noted.http == outwards(headers, [], secure=False, shared=shared).wire()
        assert noted.https == outwards(headers, [], secure=True, shared=shared).wire()
        assert noted.http != noted.https
        assert outward(headers, shared=not shared).http != noted.http


def test_no_two_traces_are_the_same() -> None:
    traces = [new_trace() for _ in range(1000)]
    assert len({trace.trace_id for trace in traces}) == 1000
    assert len({trace.span_id for trace in traces}) == 1000
    for trace in traces:
        assert (len(trace.trace_id), len(trace.span_id), trace.sampled) == (32, 16, True)
        assert trace_of(f"00-{trace.trace_id}-{trace.span_id}-01").trace_id == trace.trace_id


def test_a_process_that_was_forked_draws_others() -> None:
    """Of digits that were fetched before, two processes would make the same names."""
    new_trace()
    mine, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.write(theirs, "".join(new_trace().trace_id for _ in range(4)).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(mine) as told:
        drawn = told.read()
    assert os.waitpid(child, 0)[1] == 0
    assert len(drawn) == 128
    assert not [trace for trace in (new_trace() for _ in range(4)) if trace.trace_id in drawn]
