"""Bodies: every wrong field by its pointer, and nothing ambiguous accepted."""

import dataclasses
import json
from typing import Annotated, Any, Generic, NotRequired, Required, TypedDict, TypeVar

import pytest
from msgspec import UNSET, Meta, Struct, UnsetType, field
from pydantic import BaseModel

from switchgear.binding import Email, body_decoder, encoder
from switchgear.binding.explain import explain
from switchgear.binding.shape import shape_of
from switchgear.binding.wrong import LIMIT
from switchgear.policy.fault import Code, Effect, Fault

T = TypeVar("T")


class Person(Struct):
    name: Annotated[str, Meta(min_length=1)]
    email: Email
    age: int = 0


class Note(Struct):
    text: str


class Colon(Struct):
    value: str = field(name="a:b")


class Count(Struct):
    number: int


class Team(Struct):
    lead: Person
    members: list[Person] = []
    scores: dict[str, int] = {}
    motto: str | UnsetType | None = UNSET


class Cat(Struct, tag=True):
    lives: int


class Dog(Struct, tag="dog"):
    name: str


class Tree(Struct):
    value: int
    children: list["Tree"] = []


class Page(Struct, Generic[T]):
    items: Annotated[list[T], Meta(max_length=2)]


class Renamed(Struct, rename="camel"):
    first_name: str
    kind: str = field(name="class", default="")


class Frozen(Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class Even(Struct):
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("the number must be even")


@dataclasses.dataclass
class Point(Generic[T]):
    x: T
    y: list[T] = dataclasses.field(default_factory=list)


class Placed(Struct, array_like=True, tag="placed"):
    count: Count


class Other(Struct, array_like=True, tag="other"):
    count: Count
    more: dict[str, Count] = {}


class Marked(TypedDict, total=False):
    must: Required[int]
    may: NotRequired[int]


class Dictish(TypedDict, total=False):
    count: int


class Model(BaseModel):
    count: int
    tags: list[str] = []


ADA = '{"name":"Ada","email":"ada@example.com"}'


def refused(annotation: Any, body: str | bytes, **options: Any) -> Fault:
    decode = body_decoder(annotation, "f", **options)
    with pytest.raises(Fault) as caught:
        decode(body.encode() if isinstance(body, str) else body)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.effect is Effect.NONE
    return caught.value


def errors(annotation: Any, body: str | bytes, **options: Any) -> dict[str, str]:
    found = refused(annotation, body, **options).extra["errors"]
    assert isinstance(found, list)
    return {error["pointer"]: error["detail"] for error in found}


def test_every_wrong_field_is_listed_with_its_pointer() -> None:
    lead = '{"name":"","email":"no","age":"1"}'
    body = f'{{"lead":{lead},"members":[{{"name":1}},7],"scores":{{"a/b~":null}}}}'
    assert errors(Team, body) == {
        "/lead/name": "expected a string of length >= 1",
        "/lead/email": "expected an email address",
        "/lead/age": "expected an integer, got a string",
        "/members/0/name": "expected a string, got an integer",
        "/members/0/email": "is required",
        "/members/1": "expected an object, got a number",
        "/scores/a~1b~0": "expected an integer, got null",
    }


def test_a_right_body_is_decoded_to_its_own_type() -> None:
    decode = body_decoder(Team, "f")
    team = decode(f'{{"lead":{ADA},"members":[{ADA}],"scores":{{"a:b":1}}}}'.encode())
    assert team == Team(Person("Ada", "ada@example.com"), [team.lead], {"a:b": 1})
    assert type(team.lead) is Person


@pytest.mark.parametrize(
    ("annotation", "body", "place"),
    [
        (Person, '{"name":"A","email":"a@b.c","extra":1}', "/extra"),
        (Person, '{"name":"A:B","email":"a@b.c","extra":1}', "/extra"),
        (Person, '{"name":"A\\u003aB","email":"a@b.c","extra":1}', "/extra"),
        (Team, f'{{"lead":{ADA[:-1]},"x":1}}}}', "/lead/x"),
        (Team, f'{{"lead":{ADA},"members":[{ADA},{ADA[:-1]},"x":1}}]}}', "/members/1/x"),
        (Cat | Dog, '{"type":"Cat","lives":9,"name":"x"}', "/name"),
        (Tree, '{"value":1,"children":[{"value":2,"x":1}]}', "/children/0/x"),
        (Page[Person], f'{{"items":[{ADA[:-1]},"x":1}}]}}', "/items/0/x"),
        (Renamed, '{"firstName":"a","first_name":"b"}', "/first_name"),
        (Frozen, '{"name":"a","x":1}', "/x"),
        (Point[int], '{"x":1,"z":1}', "/z"),
        (Dictish, '{"count":1,"z":1}', "/z"),
        (list[Dictish], '[{"z":1}]', "/0/z"),
        (Person | None, f'{ADA[:-1]},"z":1}}', "/z"),
        (Model, '{"count":1,"z":1}', "/z"),
        (list[Model], '[{"count":1,"z":1}]', "/0/z"),
        (dict[int, Count], '{"7":{"number":1,"z":1}}', "/7/z"),
        (dict[int, Count] | None, '{"7":{"number":1,"z":1}}', "/7/z"),
    ],
)
def test_an_unknown_field_is_refused_for_every_type(annotation: Any, body: str, place: str) -> None:
    assert list(errors(annotation, body)) == [place]


@pytest.mark.parametrize(
    ("annotation", "body", "place"),
    [
        (Person, '{"name":"A","name":"B","email":"a@b.c"}', "/name"),
        (Person, '{"name":"A","n\\u0061me":"B","email":"a@b.c"}', "/name"),
        (Person, '{"name":"A:","email":"a@b.c","age":1,"age":2}', "/age"),
        (Person, '{"name":"\\u003a","email":"a@b.c","age":1,"age":2}', "/age"),
        (Team, f'{{"lead":{ADA},"scores":{{"a":1,"a":2}}}}', "/scores/a"),
        (Team, f'{{"lead":{ADA},"scores":{{"a":1,"a":2,"\\u003a":3}}}}', "/scores/a"),
        (Tree, '{"value":1,"children":[{"value":2,"value":3}]}', "/children/0/value"),
        (dict[str, Any], '{"a":{"b":1,"b":2}}', "/a/b"),
        (Cat | Dog, '{"type":"Cat","type":"Cat","lives":9}', "/type"),
        (Frozen, '{"name":"a","name":"b"}', "/name"),
        (Model, '{"count":1,"count":2}', "/count"),
        (Colon, '{"a:b":"x","a:b":"y"}', "/a:b"),
        (Colon, '{"a\\u003ab":"x","a\\u003Ab":"y"}', "/a:b"),
    ],
)
def test_a_repeated_name_is_refused(annotation: Any, body: str, place: str) -> None:
    assert errors(annotation, body) == {place: "is given more than once"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"{",
        b'{"name":"A","email":"a@b.c"}x',
        b'{"name":"A","email":"a@b.c",}',
        b'{"name":NaN,"email":"a@b.c"}',
        b'{"name":1,"email":Infinity}',
        b'{"name":"\xff","email":"a@b.c"}',
        b'{"name":"\xed\xa0\x80","email":"a@b.c"}',
        b'{"name":"A","email":"a@b.c","x":"\xff"}',
        b'{"name":"\\ud8","email":"a@b.c"}',
        b'{"name":"\\ud800","email":"a@b.c"',
        b'{"name":"A\x01","email":"a@b.c"}',
        b"\xef\xbb\xbf" + ADA.encode(),
        ADA.encode("utf-16"),
        b'{"name":"A","email":"a@b.c","x":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
        b'{"name":' * 3_000,
        b'{"value":1,"children":[' * 20_000,
    ],
    ids=lambda body: repr(body[:40]),
)
@pytest.mark.parametrize("annotation", [Person, Model, dict[str, Any], Tree, Any])
def test_what_is_no_json_is_malformed_and_says_why(annotation: Any, body: bytes) -> None:
    fault = refused(annotation, body)
    assert "errors" not in fault.extra
    assert fault.public.startswith("The body is not valid JSON: ")


@pytest.mark.parametrize("annotation", [Any, Tree, Model])
def test_no_depth_of_nesting_escapes_as_anything_but_a_fault(annotation: Any) -> None:
    decode = body_decoder(annotation, "f")
    refusals = 0
    for depth in range(0, 1100, 3):
        free = b'{"a":' * depth + b'"\\u003a"' + b"}" * depth
        tree = b'{"value":1,"children":[' * depth + b"]}" * depth
        for body in (free, tree):
            try:
                decode(body)
            except Fault:
                refusals += 1
    assert refusals > 0


def test_an_integer_must_fit_in_64_bits() -> None:
    wide = {"/age": "expected an integer that fits in 64 bits"}
    assert errors(Person, f'{ADA[:-1]},"age":{2**63}}}') == wide
    assert errors(Person, f'{ADA[:-1]},"age":{-(2**63) - 1}}}') == wide
    assert errors(Person, f'{ADA[:-1]},"age":{"9" * 10_000}}}') == wide
    assert errors(Count, f'{{"number":{2**63}}}') == {"/number": wide["/age"]}
    assert errors(list[int], f"[1,{2**64}]") == {"/1": wide["/age"]}
    assert errors(Tree, f'{{"value":{2**64}}}') == {"/value": wide["/age"]}
    decode = body_decoder(Person, "f")
    assert decode(f'{ADA[:-1]},"age":{2**63 - 1}}}'.encode()).age == 2**63 - 1


def test_a_number_out_of_range_is_a_wrong_value_not_a_crash() -> None:
    assert errors(dict[str, float], '{"a":1e999}') == {"/a": "number out of range"}


def test_a_nul_character_is_refused_but_an_escaped_backslash_before_it_is_not() -> None:
    detail = "must not hold a NUL character"
    assert errors(Note, '{"text":"\\u0000"}') == {"/text": detail}
    assert errors(Person, '{"name":"\\u0000","email":"a@b.c"}') == {"/name": detail}
    assert errors(dict[str, Any], '{"a":["\\u0000"]}') == {"/a/0": detail}
    assert errors(dict[str, str], '{"\\u0000":"a"}') == {"/\0": detail}
    decode = body_decoder(Person, "f")
    assert decode(b'{"name":"\\\\u0000","email":"a@b.c"}').name == "\\u0000"


HALF = "must not hold half of a surrogate pair: both halves make a character"


@pytest.mark.parametrize(
    "half", ["\\ud800", "\\uDC00", "\\ud800\\u0041", "\\\\\\udbff\\n", "\\udfff\\udfff"]
)
def test_half_of_a_surrogate_pair_is_refused_where_it_stands(half: str) -> None:
    assert errors(Person, f'{{"name":"{half}","email":1}}') == {
        "/name": HALF,
        "/email": "expected an email address",
    }
    assert errors(Team, f'{{"lead":{ADA},"members":[{{"name":"{half}","email":"a@b.c"}}]}}') == {
        "/members/0/name": HALF
    }
    assert errors(dict[str, Any], f'{{"a":["{half}",{{"b":"{half}"}}]}}') == {
        "/a/0": HALF,
        "/a/1/b": HALF,
    }
    assert errors(Cat | Dog | str, f'"{half}"') == {"": HALF}
    assert errors(tuple[str, int], f'["{half}",1]') == {"/0": HALF}
    assert errors(Model, f'{{"count":1,"tags":["{half}"]}}') == {"/tags/0": HALF}


@pytest.mark.parametrize("annotation", [Person, Model, dict[str, int], dict[str, Any], Any])
def test_a_name_with_half_of_a_surrogate_pair_is_told_of_its_object(annotation: Any) -> None:
    """No pointer could be written with it."""
    found = errors(annotation, '{"\\ud800":1}')
    assert found.pop("") == f"a name {HALF}"
    assert set(found) <= {"/name", "/email", "/count"}


def test_half_of_a_surrogate_pair_is_told_where_nothing_else_looks() -> None:
    lines = ",".join([ADA] * 1000)
    long = f'[{lines},{{"name":"\\ud800","email":"a@b.c"}}]'
    assert errors(list[Person], long) == {"": HALF}
    assert errors(Person, f'{ADA[:-1]},"new":"\\ud800"}}', lenient=True) == {"": HALF}
    assert errors(Model, '{"count":1,"new":["\\ud800"]}', lenient=True) == {"/new/0": HALF}


def test_a_whole_pair_and_an_escaped_backslash_are_no_halves() -> None:
    decode = body_decoder(Note, "f")
    assert decode(b'{"text":"\\uD83D\\uDE00"}').text == "\N{GRINNING FACE}"
    assert decode(b'{"text":"\\\\ud800"}').text == "\\ud800"
    assert errors(list[str], '["\\ud83d\\ude00\\\\\\\\ud800",1]') == {
        "/1": "expected a string, got an integer"
    }


def test_a_colon_in_a_value_or_an_escape_is_no_reason_to_refuse() -> None:
    decode = body_decoder(Person, "f")
    assert decode(b'{"name":"a:b:c","email":"a@b.c"}').name == "a:b:c"
    assert decode(b'{"name":"a\\u003ab","email":"a@b.c","age":3}').age == 3
    assert decode(b'{"em\\u0061il":"a@b.c","name":"\\"\\u00e9"}').name == '"é'


def test_a_union_names_its_tags() -> None:
    assert errors(Cat | Dog, '{"type":"cow"}') == {"/type": "expected one of 'Cat', 'dog'"}
    assert errors(Cat | Dog, "{}") == {"/type": "expected one of 'Cat', 'dog'"}
    assert errors(Cat, '{"type":"dog","lives":1}') == {"/type": "expected 'Cat'"}
    assert errors(Cat | Dog | None, "[]") == {"": "expected an object or null, got an array"}


def test_the_constraint_of_a_container_is_judged_beside_its_items() -> None:
    body = '{"items":[{"name":1},{"name":2},{"name":3}]}'
    assert errors(Page[Dog], body) == {
        "/items": "expected an array of length <= 2",
        **{f"/items/{i}/type": "is required" for i in range(3)},
        **{f"/items/{i}/name": "expected a string, got an integer" for i in range(3)},
    }


def test_a_type_s_own_check_is_heard() -> None:
    assert errors(Even, '{"number":3}') == {"": "the number must be even"}


def test_a_near_miss_is_named() -> None:
    assert errors(Person, f'{ADA[:-1]},"E-Mail":1}}') == {
        "/E-Mail": "is not known here (did you mean 'email'?)"
    }


def test_the_list_of_errors_is_bounded() -> None:
    fault = refused(list[int], json.dumps(["x"] * 5000))
    assert len(fault.extra["errors"]) == 100  # type: ignore[arg-type]  # a list, here
    assert fault.extra["more"] is True
    assert len(explain(shape_of(list[int]), json.dumps(["x"] * 5000).encode())) == LIMIT + 1


def test_of_a_long_body_the_first_wrong_place_is_told() -> None:
    lines = ",".join([ADA] * 1000)
    assert errors(list[Person], f'[{lines},{{"name":1}},{{}}]') == {
        "/1000/name": "expected a string, got an integer"
    }
    assert list(errors(list[Person], f'[{lines},{ADA[:-1]},"x":1}}]')) == ["/1000"]
    assert errors(list[Person], f'[{lines},{ADA[:-1]},"name":"B"}}]') == {
        "": "the name 'name' is given more than once"
    }
    assert errors(list[Person], f'[{lines},{{"name":"\\u0000","email":"a@b.c"}}]') == {
        "": "must not hold a NUL character"
    }
    assert "errors" not in refused(list[Person], f"[{lines},{{").extra
    long = body_decoder(list[Person], "f")(f'[{lines},{ADA[:-1]},"age":1}}]'.encode())
    assert long[-1].age == 1


def test_a_lenient_decoder_passes_what_a_newer_sender_adds_and_nothing_else() -> None:
    decode = body_decoder(Team, "f", lenient=True)
    assert decode(f'{{"lead":{ADA},"new":{{"a":1}},"new":2}}'.encode()).lead.name == "Ada"
    assert errors(Person, '{"name":1,"email":"a@b.c","new":1}', lenient=True) == {
        "/name": "expected a string, got an integer"
    }


def test_pydantic_reports_through_the_same_fault() -> None:
    found = errors(Model, '{"count":"x","tags":[1]}')
    assert list(found) == ["/count", "/tags/0"]
    assert body_decoder(Model, "f")(b'{"count":1}') == Model(count=1)
    assert body_decoder(list[Model], "f", lenient=True)(b'[{"count":1,"z":2}]')[0].count == 1


def test_a_typed_dict_may_say_of_each_member_whether_it_must_be_there() -> None:
    assert body_decoder(Marked, "f")(b'{"must":1}') == {"must": 1}
    assert errors(Marked, '{"may":"x","maybe":1}') == {
        "/must": "is required",
        "/may": "expected an integer, got a string",
        "/maybe": "is not known here",
    }


@pytest.mark.parametrize("annotation", [Model | Note, list[Model | Note]])
def test_what_pydantic_cannot_read_is_refused_when_compiled(annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"pydantic-core schema for .*Note"):
        body_decoder(annotation, "f")
    with pytest.raises(TypeError, match=r"pydantic-core schema for .*Note"):
        encoder(annotation, "f")


def test_a_type_without_json_is_refused_when_compiled() -> None:
    for annotation in (complex, list[complex], dict[str, tuple[complex, int]]):
        with pytest.raises(TypeError, match="complex"):
            body_decoder(annotation, "f")


@pytest.mark.parametrize(
    ("annotation", "body"),
    [
        (tuple[Count, int], '[{"number":1},2]'),
        (tuple[Count, int] | None, '[{"number":1},2]'),
        (Placed | Other | int, '["placed",{"number":1}]'),
        (list[Placed | Other], '[["other",{"number":1},{}],["placed",{"number":2}]]'),
    ],
)
def test_arrays_of_places_are_read_and_written_back(annotation: Any, body: str) -> None:
    read = body_decoder(annotation, "f")(body.encode())
    assert encoder(annotation, "f")(read) == body.encode()
