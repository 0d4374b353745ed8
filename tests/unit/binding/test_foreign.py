"""What other frameworks say of a parameter or a field is read, or refused: never passed over."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import aiohttp
import annotated_types
import attrs
import fastapi
import msgspec
import pydantic
import pytest
from attrs import validators
from msgspec import Struct

from switchgear.binding.decode import body_decoder
from switchgear.binding.encode import encoder
from switchgear.binding.given import Parts
from switchgear.binding.parameters import Unbindable
from switchgear.binding.plan import bind
from switchgear.binding.schema import Operation, openapi
from switchgear.policy.fault import Fault


class Bounded(Struct):
    name: Annotated[str, pydantic.Field(min_length=1)]


class Defaulted(Struct):
    name: str = pydantic.Field("", min_length=1)


class Elliptical(Struct):
    name: str = ...  # type: ignore[assignment]  # as pydantic has it


@dataclasses.dataclass
class Ranged:
    size: list[Annotated[int, annotated_types.Gt(0)]]


class Model(pydantic.BaseModel):
    size: Annotated[int, pydantic.Field(ge=3)]


async def field(a: Annotated[int, pydantic.Field(ge=3)]) -> None: ...
async def optional(a: Annotated[int, pydantic.Field(ge=3)] | None = None) -> None: ...
async def positive(a: pydantic.PositiveInt) -> None: ...
async def several(a: list[Annotated[int, annotated_types.Gt(0)]]) -> None: ...
async def query(a: Annotated[int, fastapi.Query(ge=1)]) -> None: ...
async def header(a: Annotated[str, fastapi.Header()]) -> None: ...
async def uploaded(a: Annotated[str, fastapi.Form()]) -> None: ...
async def provided(a: Annotated[Model, fastapi.Depends(Model)]) -> None: ...
async def needed(a: int = fastapi.Depends(int)) -> None: ...  # the value would be the mark
async def asked(a: int = fastapi.Query(3)) -> None: ...
async def required(a: int = ...) -> None: ...  # as pydantic has it
async def bounded(a: Bounded) -> None: ...
async def defaulted(a: Defaulted) -> None: ...
async def elliptical(a: Elliptical) -> None: ...
async def ranged(a: Ranged) -> None: ...


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (field, "nothing here reads the `Field`, which is pydantic's: msgspec has bounds of its"),
        (optional, "nothing here reads the `Field`, which is pydantic's"),
        (positive, "nothing here reads the `Gt`, which is annotated_types's"),
        (several, "nothing here reads the `Gt`, which is annotated_types's"),
        (query, "nothing here reads the `Query`, which is fastapi's: switchgear.binding has a Q"),
        (header, 'which is fastapi\'s: switchgear.binding has a Header("x-name") of its own'),
        (uploaded, "the `Form`, which is fastapi's: take the Request, and read its body"),
        (provided, "the `Depends`, which is fastapi's: call it in the function"),
        (needed, "the `Depends`, which is fastapi's: call it in the function"),
        (asked, "nothing here reads the `Query`, which is fastapi's"),
        (required, "`...` stands in the default: leave the default out where it is required"),
        (bounded, "the `Field` of `Bounded.name`, which is pydantic's: msgspec has bounds"),
        (defaulted, "the `Field` of `Defaulted.name`, which is pydantic's"),
        (elliptical, "`...` is the default of `Elliptical.name`: leave it out"),
        (ranged, "nothing here reads the `Gt`, which is annotated_types's"),
    ],
)
def test_what_nobody_here_would_heed_is_refused_at_load(
    function: Callable[..., Any], why: str
) -> None:
    with pytest.raises(Unbindable) as caught:
        openapi([Operation("POST", "/", bind(function), 200)], title="t", version="1")
    assert why in str(caught.value)
    assert "test_foreign.py:" in str(caught.value)


def test_a_result_is_held_to_the_same() -> None:
    with pytest.raises(TypeError, match=r"the `Field` of `Bounded\.name`, which is pydantic's"):
        encoder(Bounded, "f")


def test_pydantic_reads_what_stands_about_its_models() -> None:
    async def take(a: Annotated[list[Model], pydantic.Field(max_length=1)]) -> int:
        return a[0].size

    plan = bind(take)
    decode = body_decoder(plan.parameters[0].annotation, "take")
    assert decode(b'[{"size":3}]') == [Model(size=3)]
    for wrong in (b'[{"size":2}]', b'[{"size":3},{"size":3}]'):
        with pytest.raises(Fault):
            decode(wrong)


async def requested(a: fastapi.Request) -> None: ...
async def sent(a: fastapi.UploadFile) -> None: ...
async def afterwards(a: fastapi.BackgroundTasks) -> None: ...
async def unheard_of(a: aiohttp.ClientSession) -> None: ...


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (requested, "Request, which is starlette's: switchgear has a Request of its own. A par"),
        (sent, "UploadFile, which is fastapi's: take the Request, and read its body. A par"),
        (afterwards, "BackgroundTasks, which is fastapi's: publish a message, and let a con"),
        (unheard_of, "ClientSession, which is aiohttp's. A parameter"),
    ],
)
def test_a_class_of_another_framework_is_called_that(
    function: Callable[..., Any], why: str
) -> None:
    with pytest.raises(Unbindable) as caught:
        bind(function)
    assert f"no JSON is known for {why}" in str(caught.value)


@pytest.mark.parametrize("kind", [fastapi.Response, fastapi.responses.JSONResponse])
def test_an_answer_of_another_framework_is_called_that(kind: type) -> None:
    words = f"for {kind.__name__}, which is starlette's: return the value itself, or switchgear's"
    with pytest.raises(TypeError, match=words):
        encoder(kind, "f")
    with pytest.raises(TypeError, match=words):
        encoder(Any, "f")(kind(content=None))


class Holder(Struct):
    model: Model


async def held(a: Holder) -> None: ...
async def beside(a: Model | Holder) -> None: ...


def test_a_model_within_what_is_none_is_called_that() -> None:
    words = "no JSON is known for Model, a pydantic model, within what is none: make models of both"
    with pytest.raises(Unbindable, match=words):
        bind(held)
    with pytest.raises(TypeError, match=words):
        encoder(Holder, "f")
    with pytest.raises(Unbindable) as raised:
        bind(beside)
    assert "Unable to generate pydantic-core schema for <class" in str(raised.value)
    assert "\n" not in str(raised.value)


class Money:
    def __init__(self, text: str) -> None:
        self.text = text


class Priced(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    price: Annotated[
        Money, pydantic.BeforeValidator(Money), pydantic.PlainSerializer(lambda money: money.text)
    ]
    size: int = 1


def test_what_pydantic_reads_by_a_function_may_be_anything_to_the_document() -> None:
    async def take(a: Priced) -> Priced:
        return a

    plan = bind(take)
    document = openapi([Operation("POST", "/", plan, 200)], title="t", version="1")
    fields = document["components"]["schemas"]["Priced"]["properties"]
    assert set(fields) == {"price", "size"}
    assert "type" not in fields["price"]
    assert fields["size"]["type"] == "integer"
    read = body_decoder(Priced, "take")(b'{"price":"3.50"}')
    assert encoder(Priced, "take")(read) == b'{"price":"3.50","size":1}'


def test_what_only_describes_is_nobodys_business() -> None:
    async def take(a: Annotated[int, annotated_types.doc("how many"), "a note"]) -> int:
        return a

    assert bind(take).parameters[0].wire == "a"


async def test_a_default_of_a_class_of_its_own_says_that_there_was_none() -> None:
    nothing = object()

    async def take(a: int = nothing) -> bool:  # type: ignore[assignment]  # the sentinel
        return a is nothing

    plan = bind(take)
    document = openapi([Operation("GET", "/", plan, 200)], title="t", version="1")
    (parameter,) = document["paths"]["/"]["get"]["parameters"]
    assert (parameter["required"], parameter["schema"]) == (False, {"type": "integer"})
    assert await plan.call(Parts())


# Classes of attrs


@attrs.define
class Person:
    name: str
    age: int = attrs.field(default=3, validator=validators.ge(3))
    _seen: int = 0


@attrs.define
class Account(Person):
    password: str = ""


def stripped(text: str) -> str:
    return text.strip()


@attrs.define
class Converted:
    name: str = attrs.field(converter=stripped)


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        (Person, lambda one: one),
        (Person | None, lambda one: one),
        (list[Person], lambda one: [one]),
        (dict[str, Person], lambda one: {"k": one}),
    ],
)
def test_of_a_class_of_attrs_only_what_it_declares_gets_out(
    kind: Any, held: Callable[[Any], Any]
) -> None:
    encode = encoder(kind, "f")
    for value in (Person("a"), Account("a", password="secret"), {"name": "a", "age": 3, "x": 1}):
        written = encode(held(value))
        assert written is not None
        assert msgspec.json.decode(written) == held({"name": "a", "age": 3})


def test_a_class_of_attrs_is_a_body_and_its_validators_hold() -> None:
    async def take(a: Person) -> None: ...

    (parameter,) = bind(take).parameters
    assert parameter.place == "body"
    decode = body_decoder(parameter.annotation, "take")
    assert decode(b'{"name":"a","age":4}') == Person("a", 4)
    for wrong in (b'{"age":4}', b'{"name":"a","age":2}', b'{"name":"a","old":4}'):
        with pytest.raises(Fault):
            decode(wrong)
    document = openapi([Operation("POST", "/", bind(take), 200)], title="t", version="1")
    person = document["components"]["schemas"]["Person"]
    assert (person["required"], person["additionalProperties"]) == (["name"], False)
    assert msgspec.json.encode(document)


def test_a_converter_that_nobody_would_call_is_refused() -> None:
    async def take(a: Converted) -> None: ...

    with pytest.raises(Unbindable, match=r"`Converted\.name` has a converter, which attrs alone"):
        bind(take)
