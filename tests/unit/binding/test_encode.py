"""Encoders: the declared fields and no others."""

import dataclasses
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple, TypedDict

import pytest
from msgspec import Struct
from pydantic import BaseModel, Field

from switchgear.binding import ABSENT, body_decoder, encoder
from switchgear.policy.fault import Fault


class User(Struct):
    id: int
    name: str


class Row(User):
    password: str = "hash"


class Wrapped(Struct):
    user: User | None
    others: list[User] = []


@dataclasses.dataclass
class Point:
    x: int


@dataclasses.dataclass
class Secret(Point):
    y: int = 1


class Shown(TypedDict, total=False):
    user: User


class Model(BaseModel):
    id: int


class ModelRow(Model):
    password: str = "hash"


class Aliased(BaseModel):
    """Its schema calls its field `firstName`, so that is what is written, too."""

    first: str = Field(alias="firstName")


class Cat(Struct, tag=True):
    lives: int


class Kitten(Cat, tag="Kitten"):
    password: str = "hash"


class Dog(Struct, tag=True):
    name: str


class Link(Struct):
    next: "Link | None" = None


class LinkRow(Link):
    password: str = "hash"


class Pair(NamedTuple):
    user: User
    rank: int


class Listed(Struct, array_like=True):
    user: User
    rank: int = 0


class ListedRow(Listed):
    password: str = "hash"


class Ranked(Struct, array_like=True, tag="ranked"):
    user: User
    below: "Ranked | None" = None


class Held(Struct):
    by_id: dict[int, User]
    pair: tuple[User, int] | None = None


ROW = Row(1, "Ada")
SAFE = b'{"id":1,"name":"Ada"}'


@pytest.mark.parametrize(
    ("annotation", "value", "written"),
    [
        (User, User(1, "Ada"), SAFE),
        (User, ROW, SAFE),
        (User | None, ROW, SAFE),
        (list[User], [ROW], b"[" + SAFE + b"]"),
        (list[User], (User(1, "Ada"),), b"[" + SAFE + b"]"),
        (dict[str, User], {"a": ROW}, b'{"a":' + SAFE + b"}"),
        (Wrapped, Wrapped(ROW), b'{"user":' + SAFE + b',"others":[]}'),
        (Wrapped, Wrapped(None, [ROW]), b'{"user":null,"others":[' + SAFE + b"]}"),
        (Point, Secret(1), b'{"x":1}'),
        (Shown, {"user": ROW}, b'{"user":' + SAFE + b"}"),
        (Shown, {"user": User(1, "Ada"), "password": "hash"}, b'{"user":' + SAFE + b"}"),
        (Link, Link(LinkRow()), b'{"next":{"next":null}}'),
        (dict[int, User], {1: ROW}, b'{"1":' + SAFE + b"}"),
        (Mapping[date, User] | None, {date(2024, 1, 2): ROW}, b'{"2024-01-02":' + SAFE + b"}"),
        (tuple[User, int], (ROW, 1), b"[" + SAFE + b",1]"),
        (tuple[User, int] | None, [ROW, 1], b"[" + SAFE + b",1]"),
        (list[tuple[int, list[User]]], [(1, [ROW])], b"[[1,[" + SAFE + b"]]]"),
        (Pair, Pair(ROW, 1), b"[" + SAFE + b",1]"),
        (list[Pair | int], [Pair(ROW, 1), 2], b"[[" + SAFE + b",1],2]"),
        (Listed, Listed(ROW), b"[" + SAFE + b",0]"),
        (Listed, ListedRow(User(1, "Ada")), b"[" + SAFE + b",0]"),
        (Ranked | None, Ranked(User(1, "Ada"), Ranked(ROW)),
         b'["ranked",' + SAFE + b',["ranked",' + SAFE + b",null]]"),
        (Held, Held({1: ROW}, (ROW, 2)),
         b'{"by_id":{"1":' + SAFE + b'},"pair":[' + SAFE + b",2]}"),
        (Model, ModelRow(id=1), b'{"id":1}'),
        (list[Model], [ModelRow(id=1)], b'[{"id":1}]'),
        (Model, ROW, b'{"id":1}'),
        (Aliased, Aliased(firstName="Ada"), b'{"firstName":"Ada"}'),
        (list[Aliased] | None, [{"firstName": "Ada"}], b'[{"firstName":"Ada"}]'),
        (Cat | Dog, Cat(9), b'{"type":"Cat","lives":9}'),
        (list[Cat | Dog | int], [Kitten(9), 3], b'[{"type":"Cat","lives":9},3]'),
        (int, 3, b"3"),
        (Any, {"a": 1}, b'{"a":1}'),
        (ABSENT, [1], b"[1]"),
        (ABSENT, Model(id=1), b'{"id":1}'),
        (dict, {"all": [Aliased(firstName="Ada")]}, b'{"all":[{"firstName":"Ada"}]}'),
        (dict[str, Any], {"one": Model(id=1)}, b'{"one":{"id":1}}'),
    ],
)  # fmt: skip
def test_only_declared_fields_are_written(annotation: Any, value: Any, written: bytes) -> None:
    assert encoder(annotation, "f")(value) == written


@pytest.mark.parametrize("annotation", [None, type(None), User | None, Any, ABSENT, Model | None])
def test_none_is_no_content(annotation: Any) -> None:
    assert encoder(annotation, "f")(None) is None


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (None, 1),
        (User, 3),
        (User, None),
        (User, {"id": 1}),
        (tuple[User, int], (ROW,)),
        (tuple[User, int], {1: ROW}),
        (Pair, {"user": ROW, "rank": 1}),
        (Listed, ROW),
        (Model, None),
        (list[Model], None),
        (Model, {"id": "z"}),
        (Model | None, {"id": "z"}),
        (list[Model], Model(id=1)),
    ],
)
def test_a_result_that_does_not_fit_is_a_defect(annotation: Any, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^f "):
        encoder(annotation, "f")(value)


async def forgotten() -> int:
    return 1


def test_what_no_json_is_known_for_is_told_with_its_kind_and_who_returned_it() -> None:
    coroutine = forgotten()
    with pytest.raises(TypeError) as told:
        encoder(ABSENT, "f (app.py:3)")({"a": coroutine})
    coroutine.close()
    words = "no JSON is known for coroutine, which nobody has awaited"
    assert str(told.value) == f"f (app.py:3) returned what cannot be JSON: {words}"
    with pytest.raises(TypeError, match=r"no JSON is known for generator$"):
        encoder(dict, "f")({"a": (one for one in "a")})


class Tree(Struct):
    child: "Tree | None" = None
    others: "list[Tree]" = []


class Branch(Struct):
    tree: Tree


@pytest.mark.parametrize("name", ["child", "others"])
def test_as_deep_as_a_client_may_send_it_is_sent_back(name: str) -> None:
    """A refusal is the client's to read; a defect opens the breaker before everybody else."""
    decode, encode = body_decoder(Branch, "f"), encoder(Branch, "f")
    opening, closing = ('{"child":', "}") if name == "child" else ('{"others":[', "]}")
    deepest, refused = 0, list[str]()
    for depth in range(50, 1200, 50):
        tree = opening * depth + "{}" + closing * depth
        try:
            read = decode(b'{"tree":%s}' % tree.encode())
        except Fault as fault:
            refused.append(fault.public)
            break
        written = encode(read)
        assert written is not None
        assert written.count(b"}") == depth + 2
        deepest = depth
    assert deepest >= 300
    assert all("nested too deeply" in words for words in refused)
