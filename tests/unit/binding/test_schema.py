"""OpenAPI 3.1: valid by the specification's own schema, and true to what is bound."""

import enum
import json
import uuid
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from switchgear.binding import Body, Email, Header, Operation, Query, bind, openapi


class Colour(enum.Enum):
    RED = "red"


class Tx:
    pass


class Raw:
    """What the floor above answers with by itself."""


class New(Struct):
    name: Annotated[str, Meta(min_length=1)]
    email: Email


class User(Struct):
    id: uuid.UUID
    name: str
    friends: list["User"] = []


class Hook(Struct):
    event: str


class Order(BaseModel):
    item: str
    count: int = 1


def same_name() -> type[BaseModel]:
    class Order(BaseModel):
        other: float

    return Order


Other = same_name()


async def create(new: New, tx: Tx) -> User:
    """Create a user.

    The address must not be taken.
    """
    raise NotImplementedError


async def search(
    limit: Annotated[int, Meta(ge=1, le=100)] = 20,
    after: uuid.UUID | None = None,
    colour: Annotated[list[Colour], Query("colours")] = [Colour.RED],  # noqa: B006 - never changed
    lang: Annotated[str, Header("accept-language")] = "en",
) -> list[User]:
    raise NotImplementedError


async def fetch(user_id: uuid.UUID) -> User | None:
    raise NotImplementedError


async def remove(user_id: uuid.UUID) -> None:
    raise NotImplementedError


async def order(order: Order) -> Order:
    raise NotImplementedError


async def reorder(order: Other) -> list[Other]:  # type: ignore[valid-type]  # made at run time
    raise NotImplementedError


async def hook(hook: Annotated[Hook, Body(lenient=True)]) -> Raw:
    raise NotImplementedError


async def about():  # type: ignore[no-untyped-def]  # wrong on purpose
    raise NotImplementedError


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    tx: dict[Any, Any] = {Tx: lambda given: None}
    named = ["user_id"]
    made = openapi(
        [
            Operation(
                "POST", "/users", bind(create, injectors=tx), 201, ("user:write",), problems=(409,)
            ),
            Operation("GET", "/users", bind(search), tags=("users",)),
            Operation("GET", "/users/{user_id}", bind(fetch, path=named), problems=(404,)),
            Operation("DELETE", "/users/{user_id:int}", bind(remove, path=named), secured=True),
            Operation("POST", "/orders", bind(order), 202),
            Operation("PUT", "/orders", bind(reorder)),
            Operation("POST", "/hooks", bind(hook)),
            Operation("GET", "/about", bind(about)),
            Operation("GET", "/also-about", bind(about)),
        ],
        title="Community",
        version="1.2.3",
        description="People.",
    )
    read: dict[str, Any] = json.loads(json.dumps(made))
    return read


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_a_body_refuses_unknown_names_and_says_so(document: dict[str, Any]) -> None:
    new = document["components"]["schemas"]["New"]
    assert new["required"] == ["name", "email"]
    assert new["additionalProperties"] is False
    assert new["properties"]["email"]["format"] == "email"
    assert "additionalProperties" not in document["components"]["schemas"]["Hook"]


def test_parameters_carry_their_place_constraints_and_default(document: dict[str, Any]) -> None:
    limit, after, colours, lang = document["paths"]["/users"]["get"]["parameters"]
    assert limit == {
        "name": "limit",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    }
    assert after["required"] is False
    assert colours["name"] == "colours"
    assert colours["schema"]["default"] == ["red"]
    assert (lang["name"], lang["in"]) == ("accept-language", "header")
    (key,) = document["paths"]["/users/{user_id}"]["get"]["parameters"]
    assert (key["in"], key["required"], key["schema"]["format"]) == ("path", True, "uuid")


def test_a_key_is_a_parameter_where_it_is_heeded_and_told_once() -> None:
    async def own(new: New, key: Annotated[str, Header("idempotency-key")]) -> None: ...

    made = openapi(
        [
            Operation("POST", "/off", bind(hook)),
            Operation("POST", "/a", bind(hook), idempotency="optional"),
            Operation("POST", "/b", bind(about), idempotency="required"),
            Operation("POST", "/c", bind(own), idempotency="optional"),
        ],
        title="Keys",
        version="1",
    )
    OpenAPIV31SpecValidator(made).validate()
    posts = {path: item["post"] for path, item in made["paths"].items()}
    assert "parameters" not in posts["/off"]
    for path, required in (("/a", False), ("/b", True)):
        (key,) = posts[path]["parameters"]
        assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", required)
        assert key["schema"] == {"type": "string", "minLength": 1, "maxLength": 255}
        assert {"400", "409", "422"} <= set(posts[path]["responses"])
    assert [one["name"] for one in posts["/c"]["parameters"]] == ["idempotency-key"]
    assert "409" in posts["/c"]["responses"]


def test_responses_tell_success_nothing_and_problems(document: dict[str, Any]) -> None:
    created = document["paths"]["/users"]["post"]["responses"]
    assert list(created) == ["201", "400", "401", "403", "409", "422", "default"]
    assert created["201"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/User"
    }
    for status in ("400", "409", "default"):
        assert list(created[status]["content"]) == ["application/problem+json"]
    item = document["paths"]["/users/{user_id}"]
    assert list(item["get"]["responses"]) == ["200", "204", "400", "404", "422", "default"]
    assert "200" not in item["delete"]["responses"]
    assert "204" in item["delete"]["responses"]
    assert "content" not in document["paths"]["/hooks"]["post"]["responses"]["200"]


def test_security_names_the_scopes(document: dict[str, Any]) -> None:
    assert document["paths"]["/users"]["post"]["security"] == [{"bearer": ["user:write"]}]
    assert document["paths"]["/users/{user_id}"]["delete"]["security"] == [{"bearer": []}]
    assert "security" not in document["paths"]["/about"]["get"]


def test_the_docstring_is_summary_and_description(document: dict[str, Any]) -> None:
    created = document["paths"]["/users"]["post"]
    assert created["summary"] == "Create a user."
    assert created["description"] == "The address must not be taken."


def test_equal_names_do_not_hide_each_other(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert set(schemas["Order"]["properties"]) == {"item", "count"}
    assert set(schemas["Order2"]["properties"]) == {"other"}
    answer = document["paths"]["/orders"]["put"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"]["items"] == {
        "$ref": "#/components/schemas/Order2"
    }
    names = [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
    ]
    assert len(set(names)) == len(names)
