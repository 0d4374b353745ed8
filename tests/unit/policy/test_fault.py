"""Faults: what they carry, what is said of them, and that they survive being carried."""

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import MappingProxyType
from typing import Any

import pytest

from switchgear.policy.fault import PUBLIC, Code, Effect, Fault, Refusal, leaves


@pytest.mark.parametrize("word", [*Code, *Effect, *Refusal])
def test_what_crosses_boundaries_is_written_as_it_is_named(word: Code | Effect | Refusal) -> None:
    assert word.value == word.name.lower()


def test_the_words_are_a_closed_set() -> None:
    assert len(Code) == 16  # the canonical ones
    assert [effect.value for effect in Effect] == ["none", "unknown", "done"]
    assert {refusal.value for refusal in Refusal} == {
        "open",
        "full",
        "limited",
        "shed",
        "hurried",
        "draining",
    }


def test_every_code_has_a_public_sentence_of_its_own() -> None:
    assert set(PUBLIC) == set(Code)
    assert len(set(PUBLIC.values())) == len(Code)
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in PUBLIC.values())


def test_a_fault_of_which_only_the_code_is_known() -> None:
    fault = Fault(Code.NOT_FOUND)
    assert str(fault) == fault.detail == fault.public == "There is nothing here."
    assert fault.code is Code.NOT_FOUND
    assert fault.effect is Effect.UNKNOWN
    assert fault.refusal is None
    assert fault.retry_after is None
    assert (fault.origin, fault.hops, fault.extra) == ("", (), {})


def full() -> Fault:
    return Fault(
        Code.UNAVAILABLE,
        "breaker 'mail' is open",
        effect=Effect.NONE,
        refusal=Refusal.OPEN,
        retry_after=2.5,
        origin="mail",
        hops=("accounts", "gateway"),
        public="Mail is away.",
        extra={"dependency": "mail"},
    )


@pytest.mark.parametrize("code", ["not_found", None, Effect.NONE])
def test_a_fault_has_a_code_first(code: object) -> None:
    with pytest.raises(TypeError, match=r"as in Fault\(Code\.UNAVAILABLE\), not "):
        Fault(code)  # type: ignore[arg-type]  # the point


def test_what_a_fault_is_given_it_keeps() -> None:
    fault = full()
    assert str(fault) == fault.detail == "breaker 'mail' is open"
    assert fault.public == "Mail is away."
    assert fault.effect is Effect.NONE
    assert fault.refusal is Refusal.OPEN
    assert fault.retry_after == 2.5
    assert (fault.origin, fault.hops) == ("mail", ("accounts", "gateway"))
    assert fault.extra == {"dependency": "mail"}


def test_the_detail_is_for_operators_and_not_public() -> None:
    assert Fault(Code.INTERNAL, "row 7 is torn").public == PUBLIC[Code.INTERNAL]


def test_a_fault_shows_what_an_operator_asks_first() -> None:
    assert repr(Fault(Code.ABORTED, "lost the race", effect=Effect.DONE)) == (
        "Fault(aborted, 'lost the race', effect=done)"
    )
    assert repr(full()) == (
        "Fault(unavailable, \"breaker 'mail' is open\", effect=none, refusal=open, origin='mail')"
    )


@pytest.mark.parametrize(
    "carry", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))]
)
def test_a_fault_that_is_copied_or_carried_to_another_process_is_whole(carry: object) -> None:
    fault = full()
    fault.add_note("seen at night")
    assert callable(carry)
    copied = carry(fault)
    assert type(copied) is Fault
    assert copied is not fault
    assert copied.args == fault.args
    assert vars(copied) == vars(fault)
    assert str(copied) == str(fault)


class Quota(Fault):
    """A fault of somebody's own, made in another way."""

    def __init__(self, left: int) -> None:
        super().__init__(Code.RESOURCE_EXHAUSTED, f"{left} left")
        self.left = left


def test_a_fault_of_ones_own_kind_stays_of_that_kind() -> None:
    copied = pickle.loads(pickle.dumps(Quota(3)))
    assert type(copied) is Quota
    assert (copied.left, copied.detail) == (3, "3 left")


class Seat(Fault):
    """A fault of somebody's own with a place that is no attribute of every object."""

    __slots__ = ("row",)

    def __init__(self, row: int) -> None:
        super().__init__(Code.NOT_FOUND, f"no seat in row {row}")
        self.row = row


CARRIERS = [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]


@pytest.mark.parametrize("carry", CARRIERS)
def test_what_a_kind_of_its_own_keeps_in_slots_is_carried_too(carry: Any) -> None:
    carried = carry(Seat(7))
    assert (type(carried), carried.row, carried.detail) == (Seat, 7, "no seat in row 7")
    assert carried.passed_on("shop").row == 7
    assert carried.row == 7


@pytest.mark.parametrize("carry", CARRIERS)
def test_a_view_of_a_mapping_is_carried_as_what_is_in_it(carry: Any) -> None:
    fault = Fault(Code.NOT_FOUND, extra=MappingProxyType({"row": 7}))
    assert carry(fault).extra == {"row": 7}
    assert isinstance(fault.extra, MappingProxyType), "the first one stays as it is"


def bounced(error: Exception) -> None:
    raise error


def told(error: BaseException) -> list[tuple[type, tuple[Any, ...], dict[str, Any]]]:
    return [(type(leaf), leaf.args, vars(leaf)) for leaf in leaves(error)]


def test_a_group_of_faults_comes_home_whole_from_a_pool_of_processes() -> None:
    first = full()
    first.add_note("seen at night")
    group = ExceptionGroup("several", [first, ExceptionGroup("inner", [Quota(3), Seat(7)])])
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with pytest.raises(ExceptionGroup) as raised:
            pool.submit(bounced, group).result()
        assert told(raised.value) == told(group)
        assert [getattr(leaf, "row", None) for leaf in leaves(raised.value)] == [None, None, 7]
        with pytest.raises(Quota) as alone:
            pool.submit(bounced, Quota(4)).result()
        assert alone.value.left == 4


def test_an_error_that_is_no_group_is_its_own_leaf() -> None:
    error = ValueError()
    assert list(leaves(error)) == [error]


def test_the_leaves_of_nested_groups_come_in_order() -> None:
    one, two, three, four = (ValueError(number) for number in range(4))
    inner = ExceptionGroup("inner", [two, ExceptionGroup("innermost", [three])])
    assert list(leaves(ExceptionGroup("outer", [one, inner, four]))) == [one, two, three, four]


def test_a_group_may_be_one_by_itself() -> None:
    one, two, three = (ValueError(number) for number in range(3))
    whole, other = ExceptionGroup("whole", [one, two]), ExceptionGroup("other", [three])
    group = ExceptionGroup("outer", [whole, other])
    assert list(leaves(group, lambda each: each is whole)) == [whole, three]


def test_however_deep_groups_are_nested() -> None:
    error: Exception = ValueError()
    for _ in range(10_000):
        error = ExceptionGroup("deeper", [error])
    assert [type(leaf) for leaf in leaves(error)] == [ValueError]
    while isinstance(error, ExceptionGroup):  # taken apart by hand: nor must the end recurse
        error = error.exceptions[0]


def test_who_passes_a_fault_on_changes_a_copy_of_it() -> None:
    class Missing(Fault):
        """An application's own."""

    fault = Missing(Code.NOT_FOUND, "no such letter", effect=Effect.NONE, extra={"id": 7})
    other = fault.passed_on("mail").passed_on("orders")
    assert type(other) is Missing
    assert (other.origin, other.hops) == ("mail", ("mail", "orders"))
    assert (other.code, other.detail, other.extra) == (fault.code, fault.detail, fault.extra)
    assert (fault.origin, fault.hops) == ("", ())


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("effect", "none", "an Effect, such as Effect.NONE,"),
        ("refusal", "full", "a Refusal, such as Refusal.FULL, or None"),
        ("retry_after", "2", "seconds as a number, or None"),
        ("retry_after", True, "seconds as a number, or None"),
        ("detail", KeyError("seven"), "a text"),
        ("public", 7, "a text, or None"),
    ],
)
def test_a_fault_takes_nothing_for_what_it_means(name: str, value: Any, right: str) -> None:
    with pytest.raises(TypeError) as refused:
        Fault(Code.UNAVAILABLE, **{name: value})
    assert str(refused.value) == f"a fault with {name}={value!r}: {right} would be right"


def test_a_fault_without_words_has_those_of_its_code() -> None:
    nothing: Any = None
    fault = Fault(Code.NOT_FOUND, nothing, public="")
    assert fault.detail == fault.public == PUBLIC[Code.NOT_FOUND]


@pytest.mark.parametrize("after", [None, 2, 2.5, -1.0, float("inf")])
def test_a_fault_takes_seconds_of_either_kind(after: float | None) -> None:
    fault = Fault(Code.ABORTED, effect=Effect.NONE, refusal=Refusal.FULL, retry_after=after)
    assert (fault.retry_after, fault.effect, fault.refusal) == (after, Effect.NONE, Refusal.FULL)
