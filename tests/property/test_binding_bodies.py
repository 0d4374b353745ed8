"""The fast strict decoder against a naive reading by the standard library."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from switchgear.binding import body_decoder
from switchgear.policy.fault import Fault


class Leafy(Struct):
    text: str
    number: int
    maybe: str = ""
    free: Any = None


class Nested(Struct):
    leaf: Leafy
    leaves: list[Leafy] = []
    table: dict[str, int] = {}


FLAT = body_decoder(Leafy, "f")
DEEP = body_decoder(Nested, "f")

names = st.sampled_from(["text", "number", "maybe", "free", "leaf", "leaves", "table", "x", "a:b"])
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**65), st.text(':\\"u0a3\0é', max_size=6)
)


class Pairs(list[tuple[str, Any]]):
    """A JSON object that may repeat its names."""


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.tuples(names, values), max_size=5).map(Pairs)


values = st.recursive(scalars, lambda inner: objects(inner) | st.lists(inner, max_size=3))
leafy = st.tuples(
    st.text(":\\é", max_size=4),
    st.integers(-(2**64), 2**64),
    st.lists(st.tuples(names, values), max_size=2),
).map(lambda it: Pairs([("text", it[0]), ("number", it[1]), *it[2]]))
nested = st.tuples(leafy, st.lists(leafy, max_size=2), objects(st.integers(0, 3))).map(
    lambda it: Pairs([("leaf", it[0]), ("leaves", it[1]), ("table", it[2])])
)


def written(value: Any, escape: bool) -> str:
    if isinstance(value, Pairs):
        members = (f"{written(name, escape)}:{written(member, escape)}" for name, member in value)
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(item, escape) for item in value) + "]"
    if isinstance(value, str) and escape:
        return '"' + "".join(f"\\u{ord(letter):04x}" for letter in value) + '"'
    return json.dumps(value, ensure_ascii=False)


def clean(value: Any) -> bool:
    """No name twice, no NUL, anywhere."""
    if isinstance(value, Pairs):
        found = [name for name, _ in value]
        return len(set(found)) == len(found) and all(clean(member) for _, member in value)
    if isinstance(value, list):
        return all(clean(item) for item in value)
    return not (isinstance(value, str) and "\0" in value)


def is_leafy(value: Any) -> bool:
    if not isinstance(value, Pairs):
        return False
    held = dict(value)
    return (
        set(held) <= {"text", "number", "maybe", "free"}
        and isinstance(held.get("text"), str)
        and type(held.get("number")) is int
        and -(2**63) <= held["number"] < 2**63
        and isinstance(held.get("maybe", ""), str)
    )


def is_nested(value: Any) -> bool:
    if not isinstance(value, Pairs):
        return False
    held = dict(value)
    table = held.get("table", Pairs())
    leaves = held.get("leaves", [])
    return (
        set(held) <= {"leaf", "leaves", "table"}
        and is_leafy(held.get("leaf"))
        and not isinstance(leaves, Pairs)
        and isinstance(leaves, list)
        and all(map(is_leafy, leaves))
        and isinstance(table, Pairs)
        and all(type(number) is int and abs(number) < 2**63 for _, number in table)
    )


def accepted(decode: Any, text: str) -> bool:
    try:
        decode(text.encode())
    except Fault as fault:
        if not fault.extra.get("errors"):
            raise  # a well-formed body is refused by its places
        return False
    return True


@given(st.one_of(leafy, values), st.booleans())
def test_a_flat_body_is_accepted_exactly_when_the_naive_reader_accepts(
    value: Any, escape: bool
) -> None:
    assert accepted(FLAT, written(value, escape)) == (is_leafy(value) and clean(value))


@given(st.one_of(nested, values), st.booleans())
def test_a_nested_body_is_accepted_exactly_when_the_naive_reader_accepts(
    value: Any, escape: bool
) -> None:
    assert accepted(DEEP, written(value, escape)) == (is_nested(value) and clean(value))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_fault(body: bytes) -> None:
    for decode in (FLAT, DEEP):
        try:
            decode(body)
        except Fault:
            continue
