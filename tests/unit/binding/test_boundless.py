"""Numbers that JSON has not, where a text may bring them: in models, keys, and classes of attrs."""

import dataclasses
from collections import deque
from decimal import Decimal
from math import inf
from typing import Any

import attrs
import pytest
from msgspec import Struct
from pydantic import BaseModel, Json, RootModel
from pydantic.dataclasses import dataclass as validated

from switchgear.binding import body_decoder
from switchgear.binding.wrong import DECIMAL, FINITE
from switchgear.policy.fault import Fault


class Weighed(BaseModel):
    weight: float
    note: str = ""


class Priced(BaseModel):
    price: Decimal | None = None
    limit: float = inf
    prices: list["Priced"] = []
    waiting: deque[Decimal] = deque()
    word: str = ""


class Written(BaseModel):
    text: Json[Any]


class Root(RootModel[dict[Decimal, int]]):
    pass


@validated
class Checked:
    share: float
    limit: float = inf


@attrs.define
class Tagged:
    price: Decimal
    limit: Decimal = Decimal("Infinity")


class Keyed(Struct):
    by_price: dict[Decimal, str]


class Open(Struct):
    note: str
    price: Decimal = Decimal("Infinity")


@dataclasses.dataclass
class Plain:
    note: str
    price: Decimal = Decimal("Infinity")


@pytest.mark.parametrize(
    ("annotation", "body", "right"),
    [
        (Weighed, '{"weight":"nan"}', FINITE),
        (Weighed, '{"weight":"-Infinity"}', FINITE),
        (Weighed, '{"weight":"1e309"}', FINITE),
        (Weighed, '{"weight":"' + "9" * 309 + '"}', FINITE),
        (Weighed, '{"weight":"' + "9" * 210 + 'e99"}', FINITE),
        (list[Weighed], '[{"weight":1},{"weight":"inf"}]', FINITE),
        (Priced, '{"price":"1e131072"}', DECIMAL),
        (Priced, '{"price":"1e9_999_999"}', DECIMAL),
        (Priced, '{"prices":[{"prices":[{"price":"1e-16384"}]}]}', DECIMAL),
        (Priced, '{"waiting":["1e131072"]}', DECIMAL),
        (Priced, '{"limit":"inf"}', FINITE),
        (Written, '{"text":"{\\"a\\":[NaN]}"}', FINITE),
        (Root, '{"1e131072":1}', DECIMAL),
        (Checked, '{"share":"nan"}', FINITE),
        (Tagged, '{"price":"nan"}', FINITE),
        (Keyed, '{"by_price":{"nan":"x"}}', FINITE),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_text_brings_no_number_that_json_has_not(annotation: Any, body: str, right: str) -> None:
    with pytest.raises(Fault) as caught:
        body_decoder(annotation, "f")(body.encode())
    told: Any = caught.value.extra["errors"]
    assert [one["detail"] for one in told] == [right]


@pytest.mark.parametrize(
    ("annotation", "body"),
    [
        (Weighed, '{"weight":"1e308","note":"nan, inf and 1e9999"}'),
        (Priced, '{"price":"1e131071","word":"information"}'),
        (Checked, '{"share":"-1e+308"}'),
        (Tagged, '{"price":"1e1_000"}'),
        (Open, '{"note":"Nancy"}'),
        (Plain, '{"note":"Nancy"}'),
    ],
)
def test_words_pass_and_so_does_what_an_author_has_by_default(annotation: Any, body: str) -> None:
    body_decoder(annotation, "f")(body.encode())


def test_a_message_is_read_as_its_producer_wrote_it() -> None:
    read = body_decoder(Weighed, "f", lenient=True)(b'{"weight":"inf"}')
    assert read.weight == inf
