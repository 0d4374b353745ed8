"""Plans: parameters found by annotation, bound per call, refused when the app is loaded."""

import asyncio
import datetime as dt
import enum
import functools
import inspect
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType

import pytest
from msgspec import Meta, Struct

from switchgear.binding import (
    BODILESS,
    EVENT,
    HTTP,
    Body,
    Cookie,
    Header,
    Offer,
    Parts,
    Place,
    Query,
    Unbindable,
    bind,
)
from switchgear.binding.wrong import DECIMAL
from switchgear.policy.call import Call, Principal
from switchgear.policy.fault import Code, Fault


class New(Struct):
    name: str


class Tx:
    pass


class Envelope(Struct):
    call: Any


Key = NewType("Key", str)
Sort = Literal["name", "age"]


class Colour(enum.Enum):
    RED = "red"


INJECTORS: dict[Any, Callable[[Any], object]] = {
    Tx: lambda given: given.scope,
    Key: lambda given: "the-key",
}


async def create(new: New, tx: Tx, key: Key) -> New:
    return New(f"{new.name} {key} {type(tx).__name__}")


async def search(
    limit: Annotated[int, Meta(ge=1, le=100)] = 20,
    after: int | None = None,
    tags: list[str] | None = None,
    word: Annotated[str, Meta(max_length=9)] = "",
    colour: Colour = Colour.RED,
    sort: Sort = "name",
    ratio: float = 0.0,
    price: Decimal = Decimal(0),
    since: dt.date | None = None,
    page_size: Annotated[int, Query("page-size")] = 10,
    lang: Annotated[str, Header("Accept-Language")] = "en",
    session: Annotated[str, Cookie("sid")] = "",
) -> dict[str, object]:
    return dict(locals())


async def fetch(user_id: uuid.UUID, wide: bool) -> tuple[uuid.UUID, bool]:
    return user_id, wide


def run(function: Callable[..., Any], parts: Parts, **options: Any) -> Any:
    return asyncio.run(bind(function, **options).call(parts))


def errors(function: Callable[..., Any], parts: Parts, **options: Any) -> list[dict[str, str]]:
    plan = bind(function, **options)
    with pytest.raises(Fault) as caught:
        plan.arguments(parts)
    assert caught.value.code is Code.INVALID_ARGUMENT
    found = caught.value.extra["errors"]
    with pytest.raises(Fault) as again:
        plan.call(parts)
    assert again.value.extra["errors"] == found
    assert isinstance(found, list)
    return found


def test_a_body_and_injected_values_reach_the_function() -> None:
    parts = Parts(body=b'{"name":"Ada"}', scope=Tx())
    assert run(create, parts, injectors=INJECTORS) == New("Ada the-key Tx")


def test_the_plan_says_what_it_needs() -> None:
    plan = bind(create, injectors=INJECTORS)
    assert plan.injected == {Tx, Key}
    assert plan.body is not None
    assert plan.body.annotation is New
    assert plan.result is New
    assert plan.asynchronous
    assert plan.where.startswith("create (")
    assert "test_plan.py:" in plan.where


def test_query_header_and_cookie_are_typed() -> None:
    parts = Parts(
        query="limit=5&after=7&tags=a%2Cb&tags=c+d&colour=red&sort=age&ratio=1.5&price=2.50"
        "&since=2026-01-31&page-size=3&unknown=1",
        headers={"accept-language": "de", "cookie": 'a=b; sid="xyz"; sid=second'},
    )
    assert run(search, parts) == {
        "limit": 5,
        "after": 7,
        "tags": ["a,b", "c d"],
        "word": "",
        "colour": Colour.RED,
        "sort": "age",
        "ratio": 1.5,
        "price": Decimal("2.50"),
        "since": dt.date(2026, 1, 31),
        "page_size": 3,
        "lang": "de",
        "session": "xyz",
    }


def test_defaults_stand_in_for_what_is_absent() -> None:
    found = run(search, Parts())
    assert found["limit"] == 20
    assert found["tags"] is None
    assert found["lang"] == "en"


async def gathered(tags: list[str] = [], last: str = "") -> list[str]:  # noqa: B006 - the case
    tags.append(last)
    return tags


async def counted(counts: Annotated[dict[str, int], Body()] = {}) -> dict[str, int]:  # noqa: B006 - the case
    counts["calls"] = counts.get("calls", 0) + 1
    return counts


async def renamed(new: New = New("first")) -> str:  # noqa: B008 - the case
    new.name += "!"
    return new.name


@pytest.mark.parametrize(
    ("function", "first"), [(gathered, [""]), (counted, {"calls": 1}), (renamed, "first!")]
)
def test_a_default_that_can_be_changed_is_each_calls_own(
    function: Callable[..., Any], first: object
) -> None:
    plan = bind(function)
    for _ in range(2):
        assert asyncio.run(plan.call(Parts())) == first


def test_path_names_are_typed() -> None:
    some = uuid.uuid4()
    parts = Parts(path={"user_id": str(some)}, query="wide=true")
    assert run(fetch, parts, path=["user_id"]) == (some, True)


def test_the_errors_of_all_parameters_come_together() -> None:
    async def update(
        ident: int, new: New, dry: bool, tx: Tx, lang: Annotated[int, Header("x")]
    ) -> None:
        raise AssertionError("not called")

    parts = Parts(path={"ident": "x"}, query="dry=maybe", body=b'{"name":1,"z":2}', headers={})
    assert errors(update, parts, path=["ident"], injectors=INJECTORS) == [
        {"parameter": "dry", "in": "query", "detail": "expected a boolean"},
        {"parameter": "ident", "in": "path", "detail": "expected an integer"},
        {"pointer": "/name", "detail": "expected a string, got an integer"},
        {"pointer": "/z", "detail": "is not known here"},
        {"parameter": "x", "in": "header", "detail": "is required"},
    ]


def test_a_malformed_body_wins_over_wrong_parameters() -> None:
    async def update(new: New, dry: bool) -> None:
        raise AssertionError("not called")

    with pytest.raises(Fault) as caught:
        bind(update).arguments(Parts(query="dry=maybe", body=b"{"))
    assert "errors" not in caught.value.extra


@pytest.mark.parametrize(
    ("query", "name", "detail"),
    [
        ("limit=0", "limit", "expected an integer >= 1"),
        ("limit=1&limit=2", "limit", "is given 2 times"),
        ("limit=", "limit", "expected an integer"),
        ("limit", "limit", "expected an integer"),
        ("limit=%20" + "5", "limit", "expected an integer"),
        ("after=99999999999999999999", "after", "expected an integer that fits in 64 bits"),
        ("after=" + "9" * 6000, "after", "expected an integer that fits in 64 bits"),
        ("ratio=nan", "ratio", "expected a finite number"),
        ("ratio=1e999", "ratio", "number out of range"),
        ("price=Infinity", "price", "expected a finite number"),
        ("price=sNaN", "price", "expected a finite number"),
        ("price=1e131072", "price", DECIMAL),
        ("price=1e-16384", "price", DECIMAL),
        ("tags=%00", "tags", "must not hold a NUL character"),
        ("word=a%00", "word", "must not hold a NUL character"),
        ("colour=blue", "colour", 'expected "red"'),
        ("tags=%ff", "tags", "is not UTF-8"),
        ("tags=a&word=%ed%a0%80", "word", "is not UTF-8"),
        ("%ff=a", "", "is not UTF-8"),
        ("tags=%f", "", "holds a percent sign that is no escape"),
        ("&".join(["a=1"] * 101), "", "holds more than 100 parameters"),
    ],
)
def test_a_wrong_query_is_told_by_name(query: str, name: str, detail: str) -> None:
    assert errors(search, Parts(query=query)) == [
        {"parameter": name, "in": "query", "detail": detail}
    ]


def test_the_fault_of_a_provider_goes_through() -> None:
    def nobody(given: Any) -> Tx:
        raise Fault(Code.UNAUTHENTICATED, "no token")

    async def who(tx: Tx, limit: int = 1) -> None:
        raise AssertionError("not called")

    with pytest.raises(Fault, match="no token"):
        bind(who, injectors={Tx: nobody}).arguments(Parts())


def test_a_provider_serves_optional_and_parametrised_types() -> None:
    async def take(one: Tx | None, many: list[int], key: Annotated[Key, "doc"]) -> object:
        return one, many, key

    injectors = {**INJECTORS, list: lambda given: [1]}
    found = run(take, Parts(scope="tx"), injectors=injectors)
    assert found == ("tx", [1], "the-key")


def test_an_event_binds_its_only_parameter_whatever_its_type() -> None:
    async def on_text(text: str, key: Key) -> tuple[str, str]:
        return text, key

    assert run(on_text, Parts(body=b'"hi"'), injectors=INJECTORS, offer=EVENT) == ("hi", "the-key")


def test_an_event_from_a_newer_producer_is_read() -> None:
    async def on_new(new: New) -> New:
        return new

    assert run(on_new, Parts(body=b'{"name":"a","added":1}'), offer=EVENT) == New("a")


def test_an_optional_body_may_be_absent() -> None:
    async def maybe(new: New | None = None) -> New | None:
        return new

    assert run(maybe, Parts()) is None
    assert run(maybe, Parts(body=b'{"name":"a"}')) == New("a")


def test_a_list_of_scalars_is_a_body_when_marked() -> None:
    async def total(numbers: Annotated[list[int], Body()]) -> int:
        return sum(numbers)

    assert run(total, Parts(body=b"[1,2]")) == 3


async def in_order(first: int, second: str, key: Key) -> object:
    return first, second, key


async def by_name(first: int, *, second: str, key: Key) -> object:
    return first, second, key


def wrapped_by_name(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(**given: Any) -> object:
        return await function(**given)

    return wrapper


def signed_by_name(function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(**given: Any) -> object:
        return await function(**given)

    wrapper.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # as some do
    wrapper.__annotations__ = function.__annotations__
    return wrapper


class Methods:
    async def method(self, first: int, second: str, key: Key) -> object:
        return first, second, key

    @classmethod
    async def of_class(cls, first: int, second: str, key: Key) -> object:
        return first, second, key


@pytest.mark.parametrize(
    "function",
    [
        in_order,
        by_name,
        wrapped_by_name(in_order),
        signed_by_name(in_order),
        Methods().method,
        Methods.of_class,
        functools.partial(in_order),
    ],
)
def test_whatever_takes_the_arguments_gets_each_as_its_own(function: Callable[..., Any]) -> None:
    parts = Parts(path={"first": "7", "second": "b"})
    options = {"path": ["first", "second"], "injectors": INJECTORS}
    assert run(function, parts, **options) == (7, "b", "the-key")
    wrong = Parts(path={"first": "x", "second": "\0"})
    told = [error["parameter"] for error in errors(function, wrong, **options)]
    assert told == ["first", "second"], "all that is wrong, and not the first alone"


def test_methods_and_callable_objects_are_bound_too() -> None:
    class Users:
        async def create(self, new: New) -> New:
            return new

        async def __call__(self, new: New) -> New:
            return new

    users = Users()
    for function in (users.create, users):
        plan = bind(function)
        assert plan.asynchronous
        assert asyncio.run(plan.call(Parts(body=b'{"name":"a"}'))) == New("a")


def test_a_synchronous_function_is_told_apart() -> None:
    def now() -> None: ...

    assert not bind(now).asynchronous


async def unannotated(a) -> None: ...  # type: ignore[no-untyped-def]  # wrong on purpose


async def odd(a: complex) -> None: ...


async def starred(*a: int) -> None: ...


async def positional(a: int, /) -> None: ...


async def two_bodies(a: New, b: New) -> None: ...


async def unregistered(tx: Tx) -> None: ...


async def free(a: Any) -> None: ...


async def structured(key: New) -> None: ...


async def missing(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the point


async def headed(a: Annotated[New, Header("x")]) -> None: ...
async def unnamed(trace: Annotated[str, Header]) -> None: ...
async def bodiless(counts: Annotated[list[int], Body]) -> None: ...
async def defaulted(trace: str = Header("x-trace")) -> None: ...  # type: ignore[assignment]  # a mark


@pytest.mark.parametrize(
    ("function", "names", "offer", "why"),
    [
        (unannotated, (), HTTP, "parameter `a` cannot be bound: it has no annotation"),
        (odd, (), HTTP, "parameter `a: complex` cannot be bound: no JSON is known for complex"),
        (starred, (), HTTP, "a variadic positional parameter has no name"),
        (positional, (), HTTP, "a positional-only parameter has no name"),
        (two_bodies, (), HTTP, "a and b would both be the body"),
        (unregistered, (), HTTP, "parameter `tx: Tx` cannot be bound: no JSON is known for Tx"),
        (free, (), HTTP, "it is neither a scalar nor a document"),
        (structured, ("key",), HTTP, "one text cannot hold it"),
        (missing, (), HTTP, "name 'Nowhere' is not defined"),
        (headed, (), HTTP, "one text cannot hold it"),
        (unnamed, (), HTTP, "`Header` stands there without its name: write Header("),
        (bodiless, (), HTTP, "`Body` stands there without its parentheses: write Body("),
        (defaulted, (), HTTP, "`Header` stands in the default: write Annotated[str, Header(...)]"),
        (create, ("id",), HTTP, "the route names {id}, but no parameter takes it"),
        (create, (), BODILESS, "parameter `new: New` cannot be bound: there is no body here"),
        (search, (), Offer(query=False, headers=False), "there are no headers here"),
    ],
)
def test_what_cannot_be_bound_is_refused_at_load(
    function: Callable[..., Any], names: tuple[str, ...], offer: Offer, why: str
) -> None:
    injectors = INJECTORS if function is create else {}
    with pytest.raises(Unbindable) as caught:
        bind(function, path=names, injectors=injectors, offer=offer)
    message = str(caught.value)
    assert why in message
    assert message.startswith(f"{function.__qualname__} (")
    assert "test_plan.py:" in message


def test_a_refusal_lists_the_choices() -> None:
    with pytest.raises(Unbindable) as caught:
        bind(odd, injectors={**INJECTORS, Tx | None: INJECTORS[Tx]})
    given = "injected by type (Key, Tx, Tx | None)"
    for choice in ("a query parameter", "the body", "Header", given):
        assert choice in str(caught.value)


def test_places_are_those_of_openapi() -> None:
    plan = bind(search)
    assert [each.place for each in plan.parameters[-3:]] == [
        Place.QUERY,
        Place.HEADER,
        Place.COOKIE,
    ]
    assert plan.parameters[-2].wire == "accept-language"


async def knows_who(new: New, who: Principal | None) -> None: ...
async def knows_who_alone(who: Principal) -> None: ...
async def knows_the_call(call: Call[Any]) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (knows_who, "parameter `who: Principal | None` cannot be bound: no Principal comes here"),
        (knows_who_alone, "no Principal comes here"),
        (knows_the_call, "no Call comes here"),
    ],
)
def test_what_an_entrance_does_not_inject_is_no_body(
    function: Callable[..., Any], words: str
) -> None:
    with pytest.raises(Unbindable, match=re.escape(words)):
        bind(function, injectors=INJECTORS, offer=EVENT)


@pytest.mark.parametrize("name", ["", "a b", "x:", "naïve", "a\n"])
def test_a_name_that_nothing_can_have_is_refused_at_its_line(name: str) -> None:
    with pytest.raises(ValueError, match="no header can have this name"):
        Header(name)
    with pytest.raises(ValueError, match="no cookie can have this name"):
        Cookie(name)
