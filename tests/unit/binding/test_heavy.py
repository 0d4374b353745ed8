"""Heavy bodies: what a stranger writes to have much done for it is refused without doing it.

One MiB that took a minute each would hold up all whom the process serves, and have it killed.
"""

import json
import resource
import subprocess
import sys
from contextlib import suppress
from decimal import Decimal

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


class Model(BaseModel):
    count: int


def refused(annotation: object, body: bytes) -> Fault:
    with pytest.raises(Fault) as raised:
        body_decoder(annotation, "f")(body)
    return raised.value


def named(name: str) -> bytes:
    return json.dumps({"name": "Ada", name: 1}).encode()


DOTS = " - at `$" + ".a" * (MIB // 2 - 50)
BODIES = {
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


def test_more_errors_than_pydantic_can_be_asked_for_are_counted() -> None:
    fault = refused(list[Model], json.dumps([1] * 5000).encode())
    assert fault.extra["errors"] == [{"pointer": "", "detail": "holds 5000 wrong values"}]
    few = refused(list[Model], json.dumps([1] * 500).encode())
    assert few.extra["more"] is True
