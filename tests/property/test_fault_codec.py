"""Faults written and read: nothing is lost among our own, and nothing is told to anybody else."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.identity.seals import Seals
from switchgear.identity.shared import SharedKeys
from switchgear.lane.envelope import fault_in, with_fault
from switchgear.policy.codec import (
    LONGEST,
    ack_error,
    ack_within,
    decode,
    encode,
    fault_of_ack,
    public_form,
)
from switchgear.policy.crossing import as_fault, declared
from switchgear.policy.fault import Code, Effect, Fault, Refusal, leaves
from switchgear.policy.verdict import Health, effect_of, judge

NOW = 1_800_000_000.0
SEALS = Seals(SharedKeys({"a": b"k" * 32}, "a"), "fault")

words = st.text(max_size=40)
scalars = st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | words
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
)
wild = st.text(st.characters(), max_size=3000)  # lone surrogates, too
effects, refusals = st.sampled_from(list(Effect)), st.none() | st.sampled_from(list(Refusal))
codes = st.sampled_from(list(Code))


def faults(text: Any, extra: Any) -> st.SearchStrategy[Fault]:
    return st.builds(
        Fault,
        codes,
        text,
        effect=effects,
        refusal=refusals,
        retry_after=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        origin=text.map(lambda each: each[:8]),
        hops=st.lists(text.map(lambda each: each[:8]), max_size=16).map(tuple),
        public=st.none() | text,
        extra=extra,
    )


plain = faults(words, st.dictionaries(words, values, max_size=3)).filter(
    lambda fault: len(json.dumps(fault.extra)) < 1000
)
any_fault = faults(wild, st.dictionaries(wild, wild | values, max_size=5))
bare = faults(words, st.just({}))


def parts(fault: Fault | None) -> dict[str, Any]:
    assert fault is not None
    return vars(fault)


@given(plain)
def test_nothing_is_lost_between_our_own(fault: Fault) -> None:
    assert parts(decode(encode(fault))) == vars(fault)
    carried = json.loads(json.dumps(ack_within(fault)))
    assert parts(fault_of_ack(carried, trusted=True)) == vars(fault)
    assert parts(fault_in(with_fault("{}", fault))) == vars(fault)
    assert SEALS.unseal(SEALS.seal(encode(fault), NOW), NOW) == encode(fault)


@given(any_fault)
@settings(deadline=None)
def test_every_fault_can_be_written_within_the_bound_and_read_back(fault: Fault) -> None:
    written = encode(fault)
    assert written.isprintable()
    assert written.isascii()
    assert len(written) <= 6144
    read = decode(written)
    assert read is not None
    for part in ("code", "effect", "refusal", "retry_after"):
        assert getattr(read, part) == getattr(fault, part)
    assert bool(read.hops) is bool(fault.hops)
    assert encode(read) == written  # what was cut stays as it is


@given(faults(st.just("").map(str), st.just({})), st.integers(0, 10**6))
def test_nothing_internal_is_in_what_a_stranger_sees(fault: Fault, mark: int) -> None:
    secret = f"secret{mark}"
    fault = Fault(
        fault.code,
        secret,
        effect=fault.effect,
        refusal=Refusal.OPEN,
        retry_after=fault.retry_after,
        origin=secret,
        hops=(secret, secret),
        extra={"reason": secret, "row": 1},
    )
    told = json.dumps(ack_error(fault))
    assert secret not in told
    members = set(public_form(fault)) - {"retry_after", "effect"}
    assert members == {"code", "detail", "row"}


@given(st.text(st.characters()) | st.binary())
def test_garbage_is_none_and_no_error(garbage: str | bytes) -> None:
    assert decode(garbage) is None
    assert fault_of_ack(garbage, trusted=True) is None


@given(plain, st.data())
def test_a_fault_that_was_tampered_with_is_a_fault_or_none(fault: Fault, data: Any) -> None:
    written = encode(fault)
    at = data.draw(st.integers(0, len(written) - 1))
    letter = data.draw(st.characters())
    for garbage in (written[:at], written[:at] + letter + written[at + 1 :], written[at:] + "}"):
        read = decode(garbage)
        assert read is None or isinstance(read, Fault)
        assert SEALS.unseal(SEALS.seal(written, NOW)[:-1] + letter, NOW) in (written, None)


shapes = {"code": words | codes.map(str), "detail": values, "effect": values, "hops": values,
          "retry_after": values, "extra": values, "public": values, "refusal": values}  # fmt: skip


@given(st.fixed_dictionaries({"error": st.fixed_dictionaries({}, optional=shapes) | values},
                             optional={"fault": st.fixed_dictionaries({}, optional=shapes)}),
       st.booleans())  # fmt: skip
def test_whatever_an_error_ack_says_is_a_fault(ack: dict[str, Any], trusted: bool) -> None:
    fault = fault_of_ack(ack, trusted=trusted)
    assert isinstance(fault, Fault)
    if not trusted:
        assert (fault.effect, fault.refusal, fault.hops) == (Effect.UNKNOWN, None, ())
    assert len(encode(fault)) <= LONGEST


# Groups

members = bare | st.sampled_from([ZeroDivisionError("x"), ConnectionResetError(), TimeoutError()])


def grouped(inner: st.SearchStrategy[Exception]) -> st.SearchStrategy[Exception]:
    return st.lists(inner, min_size=1, max_size=4).map(
        lambda errors: ExceptionGroup("several", errors)
    )


@given(st.recursive(members, grouped, max_leaves=8))
def test_a_group_crosses_as_a_fault_that_is_judged_like_the_group(error: Exception) -> None:
    fault, judged = as_fault(error), judge(error)
    assert judge(fault).health is judged.health
    assert judge(fault).again or not judged.again
    assert fault.effect is effect_of(error)
    every = list(leaves(error))
    healths = {judge(leaf).health for leaf in every}
    worst = next(
        health for health in (Health.BAD, Health.NEUTRAL, Health.GOOD) if health in healths
    )
    assert judged.health is worst
    assert judged.again is all(judge(leaf).again for leaf in every)
    alone = not isinstance(error, ExceptionGroup)
    assert (fault.effect is Effect.NONE) is (alone and effect_of(error) is Effect.NONE)
    assert (fault.effect is Effect.DONE) is any(effect_of(leaf) is Effect.DONE for leaf in every)
    waits = [leaf.retry_after for leaf in every if isinstance(leaf, Fault)]
    assert fault.retry_after == max((wait for wait in waits if wait is not None), default=None)
    told = declared(error)
    assert (told is None) is not all(isinstance(leaf, Fault) for leaf in every)
    assert told is None or vars(told) == vars(fault)
