"""The table between faults and HTTP, outwards, between our own hops, and back."""

import json

import pytest

from switchgear.http.headers import Headers
from switchgear.http.message import Response
from switchgear.http.problem import (
    FAULT_HEADER,
    STATUS,
    fault_of,
    judging,
    problem,
    problem_within,
    retry_after,
)
from switchgear.http.refusals import refuse
from switchgear.policy.fault import PUBLIC, Code, Effect, Fault, Refusal
from switchgear.policy.verdict import BAD, BAD_AGAIN, GOOD, NEUTRAL, Health


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_status_and_says_nothing_internal(code: Code) -> None:
    fault = Fault(
        code,
        "secret host db7",
        origin="db7",
        hops=("users",),
        effect=Effect.DONE,
        refusal=Refusal.OPEN,
    )
    answer = problem(fault)
    assert answer.status == STATUS[code]
    body = json.loads(answer.body)
    assert body == {
        "type": "about:blank",
        "title": body["title"],
        "status": answer.status,
        "code": code.value,
        "detail": PUBLIC[code],
    }
    assert "db7" not in repr(answer)


def test_a_refusal_brings_its_own_status_and_reason() -> None:
    answer = problem(refuse("body-too-large", "internal words", status=413))
    assert answer.status == 413
    body = json.loads(answer.body)
    assert (body["status"], body["reason"]) == (413, "body-too-large")
    assert "internal" not in answer.body.decode()


def test_extra_members_do_not_replace_the_standard_ones() -> None:
    fault = Fault(Code.NOT_FOUND, extra={"detail": "mine", "status": 9999, "rows": [1]})
    body = json.loads(problem(fault).body)
    assert (body["detail"], body["status"], body["rows"]) == (PUBLIC[Code.NOT_FOUND], 404, [1])


@pytest.mark.parametrize(("seconds", "value"), [(0.0, "0"), (0.2, "1"), (3.0, "3"), (-1.0, "0")])
def test_retry_after_is_rounded_up(seconds: float, value: str) -> None:
    assert problem(Fault(Code.UNAVAILABLE, retry_after=seconds)).headers["retry-after"] == value


def test_a_wrong_method_says_which_are_right() -> None:
    fault = Fault(Code.UNIMPLEMENTED, extra={"status": 405, "allow": ["GET", "POST"]})
    answer = problem(fault)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, POST"


def whole(**changes: object) -> Fault:
    given: dict[str, object] = {
        "effect": Effect.NONE,
        "refusal": Refusal.LIMITED,
        "retry_after": 0.25,
        "origin": "mail",
        "hops": ("letters",),
        "public": "Later, please.",
    }
    return Fault(Code.RESOURCE_EXHAUSTED, "limit 'mail' is spent \u20ac\n", **(given | changes))  # type: ignore[arg-type]  # a mapping of its arguments


def test_the_whole_fault_survives_a_hop() -> None:
    sent = whole()
    answer = problem_within(sent, "users")
    assert answer.headers.wire()  # it can be sent, whatever the detail says
    got = fault_of(answer, "ignored", trusted=True)
    assert got is not None
    for part in ("code", "detail", "effect", "refusal", "retry_after", "origin", "public"):
        assert getattr(got, part) == getattr(sent, part)
    assert got.hops == ("letters", "users")


def test_a_fault_that_arose_here_has_no_hop_yet() -> None:
    got = fault_of(problem_within(Fault(Code.ABORTED), "users"), trusted=True)
    assert got is not None
    assert (got.origin, got.hops) == ("users", ())


def test_a_stranger_is_not_believed() -> None:
    answer = problem_within(whole(), "users")
    got = fault_of(answer, "shop")
    assert got is not None
    assert (got.effect, got.refusal, got.origin) == (Effect.UNKNOWN, None, "shop")


@pytest.mark.parametrize("value", ["", "nonsense", "{}", '{"code":"no_such"}', "[1]", "\xff"])
def test_a_malformed_fault_header_is_ignored(value: str) -> None:
    answer = Response(503, Headers({FAULT_HEADER: value}))
    got = fault_of(answer, "shop", trusted=True)
    assert got is not None
    assert got.code is Code.UNAVAILABLE
    assert judging(trusted=True)(answer).health is Health.BAD


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, GOOD), (302, GOOD), (400, GOOD), (404, GOOD), (409, GOOD), (499, GOOD), (500, BAD),
     (501, BAD), (408, BAD_AGAIN), (429, BAD_AGAIN), (502, BAD_AGAIN), (503, BAD_AGAIN),
     (504, BAD_AGAIN)],
)  # fmt: skip
def test_what_an_answer_says_about_its_dependency(status: int, verdict: object) -> None:
    """Rule 7."""
    assert judging(trusted=False)(Response(status)) == verdict
    assert judging(trusted=True)(Response(status)) == verdict


def test_a_declared_refusal_or_a_farther_hop_is_neutral() -> None:
    judge = judging(trusted=True)
    refusal = problem_within(Fault(Code.UNAVAILABLE, refusal=Refusal.SHED), "users")
    assert judge(refusal).health is Health.NEUTRAL
    passed_on = problem_within(Fault(Code.UNAVAILABLE, origin="db"), "users")
    assert judge(passed_on) == NEUTRAL
    own = problem_within(Fault(Code.UNAVAILABLE), "users")
    assert judge(own).health is Health.BAD


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0", 0.0), ("-1", None), ("1.5", None), ("", None), ("9999999", None),
     ("Fri, 31 Dec 1999 23:59:59 GMT", None), ("\xb2", None)],
)  # fmt: skip
def test_retry_after_is_read_in_seconds_only(value: str, seconds: float | None) -> None:
    assert retry_after(Headers({"retry-after": value})) == seconds


def test_no_fault_in_a_good_answer() -> None:
    assert fault_of(Response(204)) is None


def test_a_client_error_had_no_effect() -> None:
    for status in (400, 404, 422, 418):
        got = fault_of(Response(status))
        assert got is not None
        assert got.effect is Effect.NONE
    for status in (408, 429, 500, 503):
        got = fault_of(Response(status))
        assert got is not None
        assert got.effect is Effect.UNKNOWN
