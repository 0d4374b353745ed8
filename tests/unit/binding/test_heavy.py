"""Heavy bodies: what a stranger writes to have much done for it is refused without doing it.

One MiB that took a minute each would hold up all whom the process serves, and have it killed.
"""

import json
import resource
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import Struct
from pydantic import BaseModel

from switchgear.binding import body_decoder
from switchgear.binding.wrong import LIMIT, ROOM
from switchgear.policy.fault import Fault

MIB = 1 << 20
BUDGET = 10  # seconds of the processor, where each takes a small part of one


class Person(Struct):
    name: str


class Price(Struct):
    amount: Decimal
    note: str = ""


class Tables(Struct):
    tables: list[dict[int, int]]


class Model(BaseModel):
    count: int


class Ids(BaseModel):
    ids: set[UUID]


class Numbers(BaseModel):
    numbers: set[int]


class Prices(BaseModel):
    prices: dict[Decimal, int]


def refused(annotation: object, body: bytes) -> Fault:
    with pytest.raises(Fault) as raised:
        body_decoder(annotation, "f")(body)
    return raised.value


def named(name: str) -> bytes:
    return json.dumps({"name": "Ada", name: 1}).encode()


DOTS = " - at `$" + ".a" * (MIB // 2 - 50)
PRIME = 2**61 - 1  # what Python hashes numbers modulo
IDS = [str(UUID(int=many * PRIME + 7)) for many in range(1, 20_000)]
NUMBERS = [many * PRIME + 7 for many in range(1, 40_000)]
DECIMALS = ((7 * pow(10, many, PRIME) % PRIME, many) for many in range(1, 70_000))
# Without their exponents, they show nothing.
SHORT = [f"{digits}e-{many}" for digits, many in DECIMALS if digits < 10**18]
ESCAPED = ",".join(f'"\\u{ord(one[0]):04x}{one[1:]}"' for one in IDS)
BODIES = {
    "a set of UUIDs with one hash": (set[UUID], json.dumps(IDS).encode()),
    "escaped ones": (set[UUID] | None, f"[{ESCAPED}]".encode()),
    "a table of them": (dict[UUID, int], json.dumps(dict.fromkeys(IDS, 1)).encode()),
    "a model's": (Ids, json.dumps({"ids": IDS}).encode()),
    "a set of numbers with one hash": (set[int], json.dumps(NUMBERS).encode()),
    "a table of them, deep within": (
        Tables,
        json.dumps({"tables": [dict.fromkeys(map(str, NUMBERS), 1)]}).encode(),
    ),
    "a model's, with underscores": (
        Numbers,
        json.dumps({"numbers": [f"{one:_}" for one in NUMBERS]}).encode(),
    ),
    "a set of decimals with one hash": (set[Decimal], json.dumps(SHORT).encode()),
    "a model's table of them": (
        Prices,
        json.dumps({"prices": dict.fromkeys(SHORT, 1)}).encode(),
    ),
    "a name that looks like a place": (Person, named(DOTS)),
    "a name of quotes": (Person, named("`" * (MIB - 50))),
    "a name of alternatives": (Person, named("` | " * (MIB // 4 - 50))),
    "rows of nearly too many digits": (
        Price,
        json.dumps({"amount": "1", "note": ("1" * 16_382 + ",") * 63}).encode(),
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_no_body_holds_up_the_loop(name: str) -> None:
    """In a process of its own, which the kernel ends when it has worked for too long."""
    code = f"from tests.unit.binding.test_heavy import BODIES, decoded;decoded(*BODIES[{name!r}])"
    ended = subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": PATH})
    assert ended.returncode == 0


PATH = ":".join(path for path in sys.path if path)


def decoded(annotation: object, body: bytes) -> None:
    decode = body_decoder(annotation, "f")
    spent = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(spent.ru_utime + spent.ru_stime) + BUDGET
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    with suppress(Fault):
        decode(body)


@pytest.mark.parametrize("annotation", [set[UUID], frozenset[UUID | None], dict[UUID, int], Ids])
def test_what_no_hash_tells_apart_is_refused_and_all_else_is_read(annotation: Any) -> None:
    def body(ids: list[str]) -> bytes:
        if annotation is Ids:
            return json.dumps({"ids": ids}).encode()
        return json.dumps(dict.fromkeys(ids, 1) if annotation == dict[UUID, int] else ids).encode()

    told = refused(annotation, body(IDS[:101])).extra["errors"]
    assert told == [
        {
            "pointer": "",
            "detail": "holds more than 100 values that no table tells apart by their hashes",
        }
    ]
    decode = body_decoder(annotation, "f")
    decode(body(IDS[:100]))
    decode(body(IDS[:100] * 3))
    decode(body([str(uuid4()) for _ in range(5000)]))


def test_decimals_of_one_hash_are_refused_and_all_others_read() -> None:
    decode = body_decoder(set[Decimal], "f")
    assert len({hash(Decimal(one)) for one in SHORT}) == 1
    decode(json.dumps(SHORT[:100]).encode())
    assert "no table" in str(refused(set[Decimal], json.dumps(SHORT[:101]).encode()).extra)
    decode(json.dumps([f"{many}.25" for many in range(50_000)]).encode())


class Listed(Struct, array_like=True, tag="listed"):
    ids: set[UUID]


class Other(Struct, array_like=True, tag="other"):
    name: str


@pytest.mark.parametrize(
    ("annotation", "around"),
    [
        (tuple[set[UUID], int], "[%s, 1]"),
        (dict[str, tuple[int, set[UUID]]], '{"a": [1, %s]}'),
        (list[tuple[set[UUID], ...]], "[[%s]]"),
        (Listed, '["listed", %s]'),
        (Listed | Other, '["listed", %s]'),
        (set[UUID] | int, "%s"),
    ],
    ids=str,
)
def test_a_crowd_is_found_in_rows_and_choices_too(annotation: Any, around: str) -> None:
    """A row is a leaf where it is read, but what stands in it is built all the same."""
    decode = body_decoder(annotation, "f")
    decode((around % json.dumps(IDS[:100])).encode())
    told = refused(annotation, (around % json.dumps(IDS[:101])).encode()).extra["errors"]
    assert isinstance(told, list)
    assert "no table tells apart" in told[0]["detail"]


def test_of_a_name_without_end_only_the_ends_are_told() -> None:
    told = refused(Person, named("n" * MIB)).extra["errors"]
    assert isinstance(told, list)
    error = told[0]
    assert error["pointer"] == ""
    assert error["detail"].startswith("object contains unknown field `nnn")
    assert len(error["detail"]) < 3000


def test_a_name_that_many_errors_repeat_buys_no_larger_answer() -> None:
    body = json.dumps({"n" * 20_000: {"x" * 100: ["wrong"] * 90}}).encode()
    fault = refused(dict[str, dict[str, list[int]]], body)
    told = fault.extra["errors"]
    assert isinstance(told, list)
    assert 1 <= len(told) < LIMIT
    assert len(json.dumps(told)) < 2 * ROOM
    assert fault.extra["more"] is True


class Named(BaseModel):
    values: dict[str, list[int]]


def test_nor_does_it_buy_a_thousand_of_its_copies() -> None:
    body = json.dumps({"values": {"n" * 900_000: ["wrong"] * 999}}).encode()
    tracemalloc.start()
    try:
        fault = refused(Named, body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20 * len(body)
    assert fault.extra["errors"] == [{"pointer": "", "detail": "holds 999 wrong values"}]


def test_more_errors_than_pydantic_can_be_asked_for_are_counted() -> None:
    fault = refused(list[Model], json.dumps([1] * 5000).encode())
    assert fault.extra["errors"] == [{"pointer": "", "detail": "holds 5000 wrong values"}]
    few = refused(list[Model], json.dumps([1] * 500).encode())
    assert few.extra["more"] is True
