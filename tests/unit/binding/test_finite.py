"""Numbers that JSON has not: told by their place, never sent as something else."""

import dataclasses
from datetime import date
from decimal import Decimal
from math import inf, nan
from typing import Any, NamedTuple

import attrs
import pytest
from msgspec import Struct
from pydantic import BaseModel

from switchgear.binding import ABSENT, encoder
from switchgear.binding.finite import may_hold
from switchgear.binding.shape import shape_of


class Line(Struct, rename="camel"):
    unit_price: float
    note: str | None = None


class Order(Struct):
    lines: list[Line]


class Listed(Struct, array_like=True):
    price: float


class Pair(NamedTuple):
    name: str
    price: float


class Name(Struct):
    text: str | None = None
    next: "Name | None" = None


class Cat(Struct, tag=True):
    lives: int


class Weighed(Struct, tag=True):
    weight: float | None


@dataclasses.dataclass(slots=True)
class Point:
    x: float


@attrs.define
class Spot:
    x: float


class Model(BaseModel):
    price: float
    note: str | None = None


@pytest.mark.parametrize(
    ("annotation", "value", "told"),
    [
        (float, nan, "it is nan"),
        (float | None, -inf, "it is -inf"),
        (Order, Order([Line(1.0), Line(inf)]), "/lines/1/unitPrice is inf"),
        (Listed, Listed(nan), "/price is nan"),
        (Pair, Pair("a", nan), "/1 is nan"),
        (Point, Point(nan), "/x is nan"),
        (Spot, Spot(nan), "/x is nan"),
        (Model, Model(price=nan), "/price is nan"),
        (list[Model], [Model(price=1.0), Model(price=nan)], "/1/price is nan"),
        (dict[str, float], {"a": 1.0, "b/c~d": nan}, "/b~1c~0d is nan"),
        (tuple[int, float], (1, nan), "/1 is nan"),
        (list[Cat | Weighed], [Cat(9), Weighed(nan)], "/1/weight is nan"),
        (list, [[nan]], "/0/0 is nan"),
        (dict[str, Any], {"a": {"b": Point(nan)}}, "/a/b/x is nan"),
        (ABSENT, {"of": Model(price=nan)}, "/of/price is nan"),
    ],
)
def test_a_number_that_json_has_not_is_a_defect_that_is_told_by_its_place(
    annotation: Any, value: Any, told: str
) -> None:
    with pytest.raises(TypeError) as refused:
        encoder(annotation, "f (app.py:3)")(value)
    assert str(refused.value) == f"f (app.py:3) returned what cannot be JSON: {told}"


@pytest.mark.parametrize(
    ("annotation", "value", "written"),
    [
        (Order, Order([Line(1.5)]), b'{"lines":[{"unitPrice":1.5,"note":null}]}'),
        (list[float | None], [None, 0.5], b"[null,0.5]"),
        (Model, Model(price=1.5), b'{"price":1.5,"note":null}'),
        (ABSENT, {"a": None, "day": date(2024, 1, 2), "b": {1}}, None),
        (dict[str, Any], {"a": None, "b": "null", "c": Decimal("1.5")}, None),
    ],
)
def test_what_is_missing_is_sent_as_that(annotation: Any, value: Any, written: Any) -> None:
    found = encoder(annotation, "f")(value)
    assert found is not None
    assert b"null" in found
    assert written in (None, found)


@pytest.mark.parametrize(
    ("annotation", "floats"),
    [(Order, True), (Name, False), (list[Name], False), (str | int | None, False), (float, True),
     (Cat | Weighed, True), (Cat | int, False), (Cat | float, True), (Any, True), (dict, True),
     (dict[str, int], False), (list[Pair], True), (tuple[int, str], False),
     (tuple[int, float], True), (Listed, True), (list[Point] | str, True), (Decimal, False)],
)  # fmt: skip
def test_only_what_may_hold_floats_is_looked_at(annotation: Any, floats: bool) -> None:
    assert may_hold(shape_of(annotation)) == floats
