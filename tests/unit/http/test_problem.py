"""The table between faults and HTTP, outwards, between our own hops, and back."""

import json

import pytest

from switchgear.http.headers import Headers
from switchgear.http.message import Response
from switchgear.http.problem import (
    FAULT_HEADER,
    believed,
    fault_of,
    judging,
    problem,
    problem_within,
    retry_after,
)
from switchgear.http.refusals import refuse
from switchgear.identity.seals import Seals
from switchgear.identity.shared import SharedKeys
from switchgear.policy.codec import encode
from switchgear.policy.fault import PUBLIC, Code, Effect, Fault, Refusal
from switchgear.policy.status import STATUS, effect_of_status
from switchgear.policy.verdict import (
    BAD,
    BAD_AGAIN,
    GOOD,
    NEUTRAL,
    NEUTRAL_AGAIN,
    Health,
    effect_of,
    judge,
)


@pytest.mark.parametrize("effect", list(Effect))
@pytest.mark.parametrize("code", list(Code))
def test_whether_it_may_have_been_done_is_said_by_the_status_or_else_in_words(
    code: Code, effect: Effect
) -> None:
    body = json.loads(problem(Fault(code, effect=effect)).body)
    if effect is Effect.DONE or effect_of_status(STATUS[code]) is Effect.UNKNOWN:
        assert body["effect"] == effect.value
    else:
        assert "effect" not in body


def test_only_of_what_was_not_done_it_is_said_to_try_it_again() -> None:
    for effect, invited in ((Effect.NONE, True), (Effect.UNKNOWN, False), (Effect.DONE, False)):
        detail = json.loads(problem(Fault(Code.UNAVAILABLE, effect=effect)).body)["detail"]
        assert ("try again" in detail) == invited
    own = Fault(Code.UNAVAILABLE, public="Come back on Monday.")
    assert json.loads(problem(own).body)["detail"] == "Come back on Monday."


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_status_and_says_nothing_internal(code: Code) -> None:
    fault = Fault(
        code,
        "secret host db7",
        origin="db7",
        hops=("users",),
        effect=Effect.NONE,
        refusal=Refusal.OPEN,
    )
    answer = problem(fault)
    assert answer.status == STATUS[code]
    body = json.loads(answer.body)
    body.pop("effect", None)
    body.pop("retry_after", None)
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


def test_which_rule_a_dependency_broke_is_not_said() -> None:
    theirs = Fault(Code.UNAVAILABLE, origin="db7", extra={"status": 502, "reason": "bare-lf"})
    answer = problem(theirs)
    assert answer.status == 502
    assert "reason" not in json.loads(answer.body)


def test_a_wait_is_in_the_document_as_exactly_as_it_is_known() -> None:
    assert json.loads(problem(Fault(Code.UNAVAILABLE, retry_after=0.2)).body)["retry_after"] == 0.2
    assert "retry_after" not in json.loads(problem(Fault(Code.UNAVAILABLE)).body)


def test_a_wait_that_a_handler_made_up_or_that_never_ends_breaks_no_answer() -> None:
    made_up = problem(Fault(Code.UNAVAILABLE, extra={"retry_after": "soon"}))
    endless = problem(Fault(Code.UNAVAILABLE, retry_after=float("inf")))
    for answer in (made_up, endless):
        assert answer.status == 503
        assert answer.headers.get("retry-after") is None


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


def test_further_members_and_the_status_survive_a_hop() -> None:
    errors = [{"at": "name", "wrong": "missing"}]
    answer = problem_within(Fault(Code.INVALID_ARGUMENT, extra={"errors": errors}), "users")
    got = fault_of(answer, trusted=True)
    assert got is not None
    assert got.extra == {"errors": errors, "status": 422}
    assert problem(got).status == 422


def test_a_newer_hops_code_is_a_failure_that_is_not_tried_again() -> None:
    answer = Response(503, Headers({FAULT_HEADER: '{"code":"frozen","origin":"users"}'}))
    got = fault_of(answer, "ignored", trusted=True)
    assert got is not None
    assert (got.code, got.origin) == (Code.UNKNOWN, "users")
    assert judging(trusted=True)(answer) == BAD


def test_a_nameless_fault_arose_where_it_was_asked_for() -> None:
    got = fault_of(Response(503, Headers({FAULT_HEADER: '{"code":"aborted"}'})), "a", trusted=True)
    assert got is not None
    assert got.origin == "a"


def test_a_fault_that_arose_here_has_no_hop_yet() -> None:
    got = fault_of(problem_within(Fault(Code.ABORTED), "users"), trusted=True)
    assert got is not None
    assert (got.origin, got.hops) == ("users", ())


def test_a_stranger_is_not_believed() -> None:
    answer = problem_within(whole(), "users")
    got = fault_of(answer, "shop")
    assert got is not None
    assert (got.effect, got.refusal, got.origin) == (Effect.UNKNOWN, None, "shop")


@pytest.mark.parametrize("value", ["", "nonsense", "{}", '{"code":1}', "[1]", "\xff", "{" * 9999])
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


# Sealed, where a peer might be somebody else's

NOW = 1_800_000_000.0
OURS = Seals(SharedKeys({"boot": b"k" * 32}, "boot"), "fault")
THEIRS = Seals(SharedKeys({"boot": b"x" * 32}, "boot"), "fault")


def sealed(fault: Fault, seals: Seals = OURS, hop: str = "users") -> Response:
    return problem_within(fault, hop, lambda text: seals.seal(text, NOW))


def opened(answer: Response) -> Response:
    return believed(answer, lambda text: OURS.unseal(text, NOW))


def test_what_one_of_ours_has_sealed_is_believed() -> None:
    got = fault_of(opened(sealed(whole())), trusted=True)
    assert got is not None
    assert (got.effect, got.refusal, got.hops) == (
        Effect.NONE, Refusal.LIMITED, ("letters", "users"),
    )  # fmt: skip
    assert sealed(whole()).headers.wire()


def test_a_sealed_fault_is_nothing_to_who_does_not_open_it() -> None:
    got = fault_of(sealed(whole()), "shop", trusted=True)
    assert got is not None
    assert (got.effect, got.origin) == (Effect.UNKNOWN, "shop")


NO_EFFECT = Fault(Code.UNAVAILABLE, effect=Effect.NONE)
REFUSED = Fault(Code.UNAVAILABLE, effect=Effect.NONE, refusal=Refusal.OPEN)
FAR = Fault(Code.UNAVAILABLE, origin="far", hops=("near",))


def forgeries(fault: Fault) -> list[Response]:
    """What a peer that is not ours may send that has seen how ours write."""
    answer = sealed(fault, THEIRS)
    kept = sealed(Fault(Code.ABORTED)).headers[FAULT_HEADER]
    stem = kept[: kept.index("{")]
    written = [encode(fault), answer.headers[FAULT_HEADER], stem + encode(fault), "", "...", "\xff"]
    return [Response(503, Headers({FAULT_HEADER: value})) for value in written]


@pytest.mark.parametrize("number", range(6))
def test_a_forged_effect_of_none_does_not_have_a_payment_made_twice(number: int) -> None:
    answer = opened(forgeries(NO_EFFECT)[number])
    assert FAULT_HEADER not in answer.headers
    got = fault_of(answer, "pay", trusted=True)
    assert got is not None
    assert effect_of(got) is Effect.UNKNOWN


@pytest.mark.parametrize("fault", [REFUSED, FAR], ids=["refusal", "hops"])
@pytest.mark.parametrize("number", range(6))
def test_a_forged_refusal_or_distance_does_not_keep_a_breaker_closed(
    fault: Fault, number: int
) -> None:
    """Rule 7: a declared refusal is NEUTRAL only if one of ours declares it."""
    answer = opened(forgeries(fault)[number])
    assert judging(trusted=True)(answer) == BAD_AGAIN
    honest = opened(sealed(fault))
    assert judging(trusted=True)(honest).health is Health.NEUTRAL


def test_an_answer_without_a_fault_is_left_as_it_is() -> None:
    answer = Response(503, Headers({"a": "b"}))
    headers = answer.headers
    assert opened(answer) is answer
    assert answer.headers is headers


@pytest.mark.parametrize("depth", range(1, 6))
def test_only_the_hop_nearest_the_origin_retries_however_deep_the_chain(depth: int) -> None:
    """Rule 10: else each layer would multiply the attempts of the one below."""
    fault = Fault(Code.UNAVAILABLE, "db is away", origin="db")
    assert judge(fault) == BAD_AGAIN
    for number in range(depth):
        answer = sealed(fault, hop=f"hop{number}")
        assert judging(trusted=True)(opened(answer)) == NEUTRAL
        got = fault_of(answer, trusted=True)
        assert got is not None
        fault = got
    assert fault.hops == tuple(f"hop{number}" for number in range(depth))
    assert judge(fault) == NEUTRAL


def test_a_failure_of_the_service_itself_is_retried_by_its_caller_alone() -> None:
    """Rule 10."""
    own = opened(sealed(Fault(Code.UNAVAILABLE, "deadlock")))
    assert judging(trusted=True)(own) == BAD_AGAIN
    got = fault_of(own, trusted=True)
    assert got is not None
    assert judging(trusted=True)(opened(sealed(got, hop="shop"))) == NEUTRAL


def test_a_refusal_is_tried_again_by_its_caller_alone() -> None:
    """Rules 7 and 10."""
    refused = opened(sealed(REFUSED))
    assert judging(trusted=True)(refused) == NEUTRAL_AGAIN
    got = fault_of(refused, trusted=True)
    assert got is not None
    assert judging(trusted=True)(opened(sealed(got, hop="shop"))) == NEUTRAL


@pytest.mark.parametrize("refusal", [Refusal.FULL, Refusal.SHED, Refusal.DRAINING, Refusal.OPEN])
def test_who_is_refused_for_now_is_told_to_come_back_even_if_nobody_knows_when(
    refusal: Refusal,
) -> None:
    refused = Fault(Code.UNAVAILABLE, effect=Effect.NONE, refusal=refusal)
    assert problem(refused).headers.get("retry-after") == "1"
    assert json.loads(problem(refused).body)["retry_after"] == 1.0
    refused.retry_after = 7.0
    assert problem(refused).headers.get("retry-after") == "7"
    assert problem(Fault(Code.UNAVAILABLE)).headers.get("retry-after") is None
    hurried = Fault(Code.DEADLINE_EXCEEDED, refusal=Refusal.HURRIED)
    assert problem(hurried).headers.get("retry-after") is None
