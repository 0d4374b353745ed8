"""Values at the edges of their types: what is told of them, and what no handler gets to see."""

import dataclasses
import enum
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, TypedDict
from uuid import UUID

import pytest
from msgspec import Struct

from switchgear.binding import body_decoder
from switchgear.binding.wrong import DECIMAL, FINITE
from switchgear.policy.fault import Fault


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Many(enum.IntEnum):
    A0, A1, A2, A3, A4, A5, A6, A7, A8, A9 = range(10)
    B0, B1, B2, B3, B4, B5, B6, B7, B8, B9 = range(10, 20)
    C0 = 20


class Price(Struct):
    amount: Decimal
    word: str = ""


class Basket(Struct):
    prices: list[Price] = []
    by_name: dict[str, Decimal | None] = {}
    pair: tuple[str, Decimal] = ("", Decimal(0))
    next: "Basket | None" = None


@dataclasses.dataclass
class Sum:
    amount: Decimal


class Named(TypedDict):
    sums: list[Sum]


def errors(annotation: Any, body: str) -> Any:
    with pytest.raises(Fault) as caught:
        body_decoder(annotation, "f")(body.encode())
    return caught.value.extra["errors"]


@pytest.mark.parametrize(
    ("annotation", "body", "place"),
    [
        (Price, '{"amount":%s}', "/amount"),
        (Price, '{"word":"a:b","amount":%s}', "/amount"),
        (Basket, '{"prices":[{"amount":1},{"amount":%s}]}', "/prices/1/amount"),
        (Basket, '{"by_name":{"a":null,"b":%s}}', "/by_name/b"),
        (Basket, '{"pair":["x",%s]}', ""),
        (Basket, '{"next":{"next":{"prices":[{"amount":%s}]}}}', "/next/next/prices/0/amount"),
        (Sum, '{"amount":%s}', "/amount"),
        (Named, '{"sums":[{"amount":%s}]}', "/sums/0/amount"),
        (list[Decimal], "[1,%s]", "/1"),
    ],
)
@pytest.mark.parametrize(
    ("written", "right"),
    [
        ('"NaN"', FINITE),
        ('"-sNaN123"', FINITE),
        ('"Infinity"', FINITE),
        (r'"\u004eaN"', FINITE),
        ('"n_an"', FINITE),
        ('"-I_n_F"', FINITE),
        ('"1e1_3_1_0_7_2"', DECIMAL),
        ('"1_e-1_6384"', DECIMAL),
        ('"1e\u0661\u0663\u0661\u0660\u0667\u0662"', DECIMAL),
        ('"' + "1_" * 131_072 + '1"', DECIMAL),
        ('"0.' + "1" * 16_383 + 'e-1"', DECIMAL),
        ('"1e131072"', DECIMAL),
        ("1e131072", DECIMAL),
        ("1" * 131_073, DECIMAL),
        ('"1e-16384"', DECIMAL),
        ('"0.' + "1" * 16_384 + '"', DECIMAL),
    ],
    ids=lambda value: value[:12],
)
def test_a_decimal_is_a_number_that_can_be_stored(
    annotation: Any, body: str, place: str, written: str, right: str
) -> None:
    """One that is not a number would be no more than any limit, and pass it."""
    wrong = body % written
    told = errors(annotation, wrong)
    # Of a long body the place is not looked for.
    assert told == [{"pointer": place if len(wrong) < 32_768 else "", "detail": right}]


@pytest.mark.parametrize(
    "written", ['"1"', "12.50", '"-1e131071"', '"1e-16383"', '"+0012"', "1e2000"]
)
def test_any_other_decimal_passes_and_so_do_words_that_look_like_none(written: str) -> None:
    price = body_decoder(Price, "f")(f'{{"word":"nan: inf 1e9999","amount":{written}}}'.encode())
    assert price == Price(Decimal(written.strip('"')), "nan: inf 1e9999")


@pytest.mark.parametrize(
    ("annotation", "written", "detail"),
    [
        (Colour, '"green"', 'expected one of "red", "blue"'),
        (Colour | None, "3", 'expected one of "red", "blue"'),
        (Literal["a", 1], '"b"', 'expected one of 1, "a"'),
        (Literal["a"], '"b"', 'expected "a"'),
        (Many, "21", "invalid enum value 21"),
        (datetime, '"2024-02-30T00:00:00Z"', "expected a date and time like 2024-01-31T12:30:00Z"),
        (date, '"2024-2-3"', "expected a date like 2024-01-31"),
        (time, '"25:00:00"', "expected a time like 12:30:00"),
        (timedelta, '"soon"', "expected a duration like PT1H30M"),
        (UUID, '"x"', "expected a UUID"),
        (bytes, '"!"', "expected base64 text"),
        (Decimal, '"x"', "expected a decimal"),
    ],
)
def test_what_would_be_right_is_told(annotation: Any, written: str, detail: str) -> None:
    for told in (
        errors(list[annotation], f"[{written}]"),
        errors(dict[str, annotation], f'{{"0":{written}}}'),
    ):
        assert told == [{"pointer": "/0", "detail": detail}]
