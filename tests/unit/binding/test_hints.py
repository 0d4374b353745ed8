"""Annotations that name what there is not are refused at load, with the class they stand in."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import pydantic
import pytest
from msgspec import Struct

from switchgear.binding import EVENT, HTTP, Offer, Unbindable, bind
from switchgear.binding.encode import encoder

if TYPE_CHECKING:
    from uuid import UUID


class Item(Struct):
    id: UUID


class Inside(Struct):
    items: list[Item | None]


class Lined(Struct, array_like=True):
    id: UUID


@dataclass
class Data:
    id: UUID


class Typed(TypedDict):
    id: UUID


class Named(NamedTuple):
    id: UUID


class Model(pydantic.BaseModel):
    id: UUID


class Outer(pydantic.BaseModel):
    models: list[Model]


class Later(Struct):
    other: Defined
    again: Later | None = None


class Defined(Struct):
    text: str


class LaterModel(pydantic.BaseModel):
    other: DefinedModel
    again: LaterModel | None = None


class DefinedModel(pydantic.BaseModel):
    text: str


KINDS: list[tuple[Any, str]] = [
    (Item, "Item"),
    (Item | None, "Item"),
    (tuple[Item, int], "Item"),
    (Inside, "Item"),
    (Lined, "Lined"),
    (Data, "Data"),
    (Typed, "Typed"),
    (list[Named], "Named"),
    (Model, "Model"),
    (list[Outer], "Model"),
]


def taking(kind: Any) -> Any:
    async def take(given): ...  # type: ignore[no-untyped-def]  # its annotation is set below

    take.__annotations__ = {"given": kind}
    return take


@pytest.mark.parametrize("offer", [HTTP, EVENT])
@pytest.mark.parametrize(("kind", "owner"), KINDS)
def test_a_name_that_is_not_there_is_told_with_the_class_that_names_it(
    kind: Any, owner: str, offer: Offer
) -> None:
    with pytest.raises(Unbindable) as caught:
        bind(taking(kind), offer=offer)
    told = str(caught.value)
    assert f"the annotations in `{owner}` cannot be read: name 'UUID' is not defined" in told
    assert "not under TYPE_CHECKING" in told
    assert "test_hints.py:" in told


@pytest.mark.parametrize(("kind", "owner"), KINDS)
def test_so_it_is_of_a_result(kind: Any, owner: str) -> None:
    with pytest.raises(TypeError, match=f"the annotations in `{owner}` cannot be read"):
        encoder(kind, "f")


class Mistyped(Struct):
    id: uuid.UUIDD  # type: ignore[name-defined]  # the typo under test


@dataclass
class Unclosed:
    ids: "list[int"  # type: ignore[valid-type]  # noqa: F722 - the mistake under test


async def mistyped(id: uuid.UUIDD) -> None: ...  # type: ignore[name-defined]  # the typo
async def unclosed() -> "list[int": ...  # type: ignore[valid-type]  # noqa: F722 - the mistake


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (list[Mistyped], "`Mistyped` cannot be read: module 'uuid' has no attribute 'UUIDD'"),
        (Unclosed, "`Unclosed` cannot be read: Forward reference must be an expression"),
    ],
)
def test_whatever_an_annotation_raises_is_told(kind: Any, told: str) -> None:
    with pytest.raises(Unbindable, match=f"the annotations in {told}"):
        bind(taking(kind))
    with pytest.raises(TypeError, match=f"the annotations in {told}"):
        encoder(kind, "f")


@pytest.mark.parametrize("function", [mistyped, unclosed])
def test_so_it_is_of_a_functions_own(function: Any) -> None:
    with pytest.raises(Unbindable, match=r"test_hints\.py:\d+\): its annotations cannot be read"):
        bind(function)


@pytest.mark.parametrize(
    ("kind", "below"), [(Later, Defined("a")), (LaterModel, DefinedModel(text="a"))]
)
def test_what_stands_further_below_may_be_named(kind: Any, below: Any) -> None:
    bind(taking(kind))
    assert encoder(kind, "f")(kind(other=below)) == b'{"other":{"text":"a"},"again":null}'
