"""The written forms of a fault: bounded, mixing with other versions, mute towards strangers."""

import json
from datetime import UTC, datetime
from math import inf, nan
from typing import Any

import msgspec
import pytest

from switchgear.policy.codec import (
    ack_error,
    ack_within,
    decode,
    encode,
    fault_of_ack,
    public_form,
)
from switchgear.policy.fault import PUBLIC, Code, Effect, Fault, Refusal

WHOLE = Fault(
    Code.RESOURCE_EXHAUSTED,
    "limit 'mail' is spent \u20ac \U0001f600\x7f\r\n",
    effect=Effect.NONE,
    refusal=Refusal.LIMITED,
    retry_after=0.25,
    origin="mail",
    hops=("letters", "users"),
    public="Later, please.",
    extra={"left": [1, {"a": None}]},
)
MEMBERS = (
    "code",
    "detail",
    "effect",
    "refusal",
    "retry_after",
    "origin",
    "hops",
    "public",
    "extra",
)


def same(one: Fault | None, other: Fault) -> bool:
    return one is not None and all(getattr(one, m) == getattr(other, m) for m in MEMBERS)


def read(written: str) -> Fault:
    fault = decode(written)
    assert fault is not None
    return fault


def whole(**changes: Any) -> Fault:
    given: dict[str, Any] = {member: getattr(WHOLE, member) for member in MEMBERS} | changes
    return Fault(given.pop("code"), given.pop("detail"), **given)


def test_the_whole_fault_survives_in_printable_ascii() -> None:
    written = encode(WHOLE)
    assert written.isascii()
    assert written.isprintable()
    assert same(decode(written), WHOLE)
    assert same(decode(written.encode()), WHOLE)


def test_what_is_as_usual_costs_nothing() -> None:
    assert encode(Fault(Code.ABORTED)) == '{"code":"aborted"}'
    assert same(decode('{"code":"aborted"}'), Fault(Code.ABORTED))


def test_the_form_is_what_older_hops_read() -> None:
    assert json.loads(encode(WHOLE)) == {
        "code": "resource_exhausted",
        "detail": WHOLE.detail,
        "effect": "none",
        "refusal": "limited",
        "retry_after": 0.25,
        "origin": "mail",
        "hops": ["letters", "users"],
        "public": "Later, please.",
        "extra": {"left": [1, {"a": None}]},
    }
    older = '{"code":"aborted","detail":"x","effect":"done","refusal":null,"hops":[],"public":null}'
    assert same(decode(older), Fault(Code.ABORTED, "x", effect=Effect.DONE))


def test_a_newer_hop_is_understood_as_far_as_it_goes() -> None:
    newer = {"code": "frozen", "effect": "half", "refusal": "tired", "mood": [{}], "origin": "db"}
    fault = read(json.dumps(newer))
    assert (fault.code, fault.effect, fault.refusal) == (Code.UNKNOWN, Effect.UNKNOWN, None)
    assert fault.origin == "db"


@pytest.mark.parametrize(
    "garbage",
    ["", "x", "{}", "[]", "null", "1", '"code"', '{"code":1}', '{"code":"aborted","hops":"x"}',
     '{"code":"aborted","retry_after":"1"}', '{"code":"aborted","extra":[]}', "\xff", "\ud800",
     '{"code":"aborted","x":' + '{"x":' * 9000 + "0" + "}" * 9001, "1" * 5000,
     '{"code":"aborted","retry_after":1e999}', '{"code":"aborted","retry_after":NaN}'],
)  # fmt: skip
def test_what_is_no_fault_is_none(garbage: str) -> None:
    assert decode(garbage) is None


def test_no_more_is_read_than_is_ever_written() -> None:
    padded = '{"code":"aborted"}'.ljust(8192)
    assert decode(padded) is not None
    assert decode(padded + " ") is None


@pytest.mark.parametrize(
    ("member", "most"), [("detail", 1024), ("public", 512), ("origin", 96), ("hops", 96)]
)
@pytest.mark.parametrize(("letter", "width"), [("x", 1), ('"', 2), ("\n", 2), ("\x01", 6),
                                              ("\u20ac", 6), ("\U0001f600", 12)])  # fmt: skip
def test_a_text_that_is_too_long_is_cut_and_says_so(
    member: str, most: int, letter: str, width: int
) -> None:
    def told(count: int) -> Any:
        text = letter * count
        given = (text,) if member == "hops" else text
        value = getattr(read(encode(whole(**{member: given}))), member)
        return value[0] if member == "hops" else value

    assert told(most // width) == letter * (most // width)
    assert told(most // width + 1) == letter * ((most - 6) // width) + " [cut]"
    # Cut once, it stays as it is.
    cut = told(5000)
    again = encode(whole(**{member: (cut,) if member == "hops" else cut}))
    value = getattr(read(again), member)
    assert (value[0] if member == "hops" else value) == cut


def test_a_long_chain_of_hops_keeps_its_ends_however_far_it_goes_on() -> None:
    hops = tuple(f"hop{number}" for number in range(16))
    assert read(encode(whole(hops=hops))).hops == hops
    for number in range(16, 40):
        hops = read(encode(whole(hops=(*hops, f"hop{number}")))).hops
        nearest = [f"hop{each}" for each in range(8)]
        latest = [f"hop{each}" for each in range(number - 6, number + 1)]
        assert hops == (*nearest, "...", *latest)


def test_members_of_extra_that_do_not_fit_are_left_out_and_counted() -> None:
    fits = {"a": "x" * 2040}  # {"a":""} is 8 more
    assert read(encode(whole(extra=fits))).extra == fits
    assert read(encode(whole(extra={"a": "x" * 2041}))).extra == {"cut": 1}
    mixed = {"a": "x" * 3000, "b": 1, "c": "\u20ac" * 400, "d": "x" * 2000, "e": [2]}
    assert read(encode(whole(extra=mixed))).extra == {"b": 1, "d": "x" * 2000, "e": [2], "cut": 2}


def test_together_they_fit_or_not() -> None:
    # Each is written in 1000 characters.
    three = {name: name * 992 for name in "abc"}
    assert read(encode(whole(extra=three))).extra == {"a": "a" * 992, "b": "b" * 992, "cut": 1}


def test_what_cannot_be_written_is_left_out_and_nothing_fails() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    raw = msgspec.Raw(b"{")
    wrong = {"object": object(), "lone": "\ud800", "deep": deep, "raw": raw, "fine": 10**400}
    assert read(encode(whole(extra=wrong))).extra == {"fine": 10**400, "cut": 4}
    while deep:  # else it is freed by recursion
        deep = deep.pop()
    dated = whole(extra={"at": datetime(2024, 1, 2, tzinfo=UTC)})
    assert read(encode(dated)).extra == {"at": "2024-01-02T00:00:00Z"}


def test_a_lone_surrogate_costs_its_letter_and_not_the_fault() -> None:
    fault = read(encode(whole(detail="file \ud800\u20ac", origin="\udfff", hops=("\ud83d",))))
    assert (fault.detail, fault.origin, fault.hops) == ("file ?\u20ac", "?", ("?",))


@pytest.mark.parametrize("endless", [inf, -inf, nan])
def test_a_wait_without_end_is_none(endless: float) -> None:
    assert read(encode(whole(retry_after=endless))).retry_after is None
    assert "retry_after" not in public_form(whole(retry_after=endless))


def test_no_form_is_longer_than_six_kibibytes() -> None:
    most = whole(
        detail="\U0001f600" * 9999,
        public="\n" * 9999,
        origin="\x01" * 9999,
        hops=("\u20ac" * 9999,) * 999,
        extra={str(number): "x" * 99 for number in range(999)},
        retry_after=1.7976931348623157e308,
    )
    written = encode(most)
    assert 5000 < len(written) <= 6144
    assert decode(written) is not None


def test_a_stranger_is_told_the_code_the_sentence_and_the_wait() -> None:
    assert public_form(WHOLE) == {
        "code": "resource_exhausted",
        "detail": "Later, please.",
        "effect": "none",
        "retry_after": 0.25,
        "left": [1, {"a": None}],
    }
    assert public_form(Fault(Code.INTERNAL, "secret")) == {
        "code": "internal",
        "detail": PUBLIC[Code.INTERNAL],
        "effect": "unknown",
    }
    assert public_form(whole(retry_after=-1.0))["retry_after"] == 0.0
    assert public_form(whole(retry_after=0.0))["retry_after"] == 0.0


def test_further_members_replace_none_of_ours() -> None:
    told = public_form(Fault(Code.ABORTED, extra={"code": "mine", "detail": "mine", "row": 1}))
    ours = public_form(Fault(Code.UNAVAILABLE, effect=Effect.NONE, extra={"effect": "done"}))
    assert ours["effect"] == "none"
    assert told == {"code": "aborted", "detail": PUBLIC[Code.ABORTED], "row": 1}


def test_which_rule_a_dependency_broke_is_not_said() -> None:
    ours = Fault(Code.INVALID_ARGUMENT, extra={"reason": "body-too-large"})
    assert public_form(ours)["reason"] == "body-too-large"
    theirs = Fault(Code.UNAVAILABLE, origin="db7", extra={"reason": "bare-lf", "status": 502})
    assert public_form(theirs) == {
        "code": "unavailable",
        "detail": "The service is unavailable; whether it did what was asked is not known.",
        "effect": "unknown",
        "status": 502,
    }


# Acknowledgements of Socket.IO


def test_an_ack_within_brings_the_whole_fault() -> None:
    ack = json.loads(json.dumps(ack_within(WHOLE)))
    assert ack["error"] == public_form(WHOLE)
    assert same(fault_of_ack(ack, trusted=True), WHOLE)
    assert same(fault_of_ack(ack, "ignored", trusted=True), WHOLE)


def test_an_ack_to_a_stranger_holds_nothing_internal() -> None:
    assert ack_error(WHOLE) == {"error": public_form(WHOLE)}
    assert "mail" not in repr(ack_error(WHOLE))


@pytest.mark.parametrize("trusted", [True, False])
def test_a_public_ack_is_read_for_its_code_and_wait_alone(trusted: bool) -> None:
    fault = fault_of_ack(ack_error(WHOLE), "chat", trusted=trusted)
    assert fault is not None
    assert (fault.code, fault.detail) == (Code.RESOURCE_EXHAUSTED, "Later, please.")
    assert (fault.retry_after, fault.origin) == (0.25, "chat")
    assert (fault.effect, fault.refusal, fault.hops) == (Effect.UNKNOWN, None, ())
    # Else its words would be ours towards our own clients.
    assert (fault.public, fault.extra) == (PUBLIC[Code.RESOURCE_EXHAUSTED], {})


def test_a_stranger_that_acks_like_one_of_ours_is_not_believed() -> None:
    fault = fault_of_ack(ack_within(WHOLE), "chat")
    assert fault is not None
    assert (fault.effect, fault.refusal, fault.origin) == (Effect.UNKNOWN, None, "chat")


@pytest.mark.parametrize("ack", [None, "error", ["error"], {}, {"fault": {"code": "aborted"}}, 1])
def test_what_tells_of_no_error_is_none(ack: object) -> None:
    assert fault_of_ack(ack, trusted=True) is None


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("error", [None, "x", [], {}, {"code": 1}, {"code": "x", "detail": 1}])
def test_an_error_that_cannot_be_read_is_an_error_all_the_same(error: Any, trusted: bool) -> None:
    fault = fault_of_ack({"error": error}, "chat", trusted=trusted)
    assert fault is not None
    assert (fault.code, fault.origin) == (Code.UNKNOWN, "chat")
    assert fault.detail == "an error that cannot be read"


def test_a_broken_fault_of_one_of_ours_is_an_error_all_the_same() -> None:
    fault = fault_of_ack({"error": {}, "fault": {"code": "aborted", "hops": 1}}, trusted=True)
    assert fault is not None
    assert fault.code is Code.UNKNOWN


@pytest.mark.parametrize(
    ("wait", "read"),
    [(0, 0.0), (1.5, 1.5), (999_999.0, 999_999.0), (1e6, None), (-0.5, None), (nan, None)],
)
def test_a_stranger_cannot_send_us_to_sleep(wait: float, read: float | None) -> None:
    fault = fault_of_ack({"error": {"code": "unavailable", "retry_after": wait}})
    assert fault is not None
    assert fault.retry_after == read


def test_a_stranger_may_say_no_more_than_a_code() -> None:
    fault = fault_of_ack({"error": {"code": "aborted"}})
    assert same(fault, Fault(Code.ABORTED))


def test_a_strangers_sentence_is_bounded() -> None:
    fault = fault_of_ack({"error": {"code": "not yet known", "detail": "x" * 9999}})
    assert fault is not None
    assert (fault.code, len(fault.detail)) == (Code.UNKNOWN, 1024)


@pytest.mark.parametrize("huge", [10**400, -(10**400)])
def test_a_wait_that_no_float_can_hold_is_one_without_end(huge: int) -> None:
    """As an upstream may ask for in JSON, whose numbers have no end."""
    fault = Fault(Code.UNAVAILABLE, "busy", retry_after=huge)
    assert fault.retry_after == (inf if huge > 0 else -inf)
    assert public_form(fault) == {
        "code": "unavailable",
        "detail": "The service is unavailable; whether it did what was asked is not known.",
        "effect": "unknown",
    }
    read = decode(encode(fault))
    assert read is not None
    assert read.retry_after is None
