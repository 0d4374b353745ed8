"""What compiled code asks of others is remembered, and forgotten when it is not so any more."""

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from itertools import count
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tools.compiled import ROOT, lacking

SOURCE = """
from typing import Any

name: Any = "first"

def field(it: Any) -> Any:
    return it.field

def named(it: Any, name: str) -> Any:
    return getattr(it, name)

def call(it: Any, given: Any) -> Any:
    return it.method(given)

def apply(function: Any, *args: Any) -> Any:
    return function(args)

def word() -> Any:
    return name

def item(items: dict[str, Any], key: str) -> Any:
    return items[key]

def join(one: str, two: str, three: str) -> str:
    return f"{one}-{two}-{three}"

def number(it: int) -> str:
    return str(it)

def find(it: bytes, *args: Any) -> Any:
    if len(args) == 1:
        return it.find(args[0])
    return it.find(args[0], args[1])

def counts(it: bytes, *args: Any) -> Any:
    if len(args) == 1:
        return it.count(args[0])
    return it.count(args[0], args[1])

def has(it: bytes, what: Any) -> bool:
    return what in it

def has_text(it: str, what: str) -> bool:
    return what in it

def found(it: Any, *args: Any) -> Any:
    if not args:
        return it.find()
    return it.find(args[0])

def named_start(it: Any, start: int) -> Any:
    return it.find(b"c", start=start)

def starts(it: bytes, *args: Any) -> Any:
    if len(args) == 1:
        return it.startswith(args[0])
    return it.startswith(args[0], args[1])

def ask(function: Any) -> Any:
    return function()

async def pair(first: Any, second: Any) -> Any:
    return first, second

async def wait(it: Any) -> Any:
    return await it

class Waiting:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def method(self, given: Any) -> Any:
        return self.answer, given
"""


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Compile the functions above as the wheel is compiled."""
    if missing := lacking():
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("quick")
    (folder / "scratch").mkdir()
    (folder / "quickly.py").write_text(SOURCE)
    (folder / "another.py").touch()  # what is compiled alone is no group
    command = [sys.executable, str(ROOT / "tools/compiling.py"), "quick", "made", "scratch"]
    done = subprocess.run(
        [*command, "quickly.py", "another.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder / "made"))
    try:
        module = import_module("quickly")
    finally:
        sys.path.pop(0)
    assert (module.__file__ or "").endswith(".so")
    return module


class Slotted:
    __slots__ = ("field", "other")

    def __init__(self, field: object = 1, other: object = 2) -> None:
        self.field = field
        self.other = other


class Open:
    """An object with a dict of its own."""

    def __init__(self, field: object = "open") -> None:
        self.field = field

    def method(self, given: object) -> object:
        return ("open", given)


def fresh(answer: str) -> type[Any]:
    """Make a class without dicts whose method answers so."""

    class Fresh:
        __slots__ = ()

        def method(self, given: object) -> object:
            return (answer, given)

    return Fresh


def test_a_field_is_that_of_the_object_that_is_asked(quick: ModuleType) -> None:
    objects = [Slotted(f"field {number}") for number in range(5)]
    assert [quick.field(it) for it in objects] == [it.field for it in objects]
    objects[0].field = "set anew"
    assert quick.field(objects[0]) == "set anew"


def test_objects_of_many_kinds_come_to_one_place(quick: ModuleType) -> None:
    class Other:
        __slots__ = ("before", "field")

    other: Any = Other()
    other.before, other.field = "before", "of another"
    kinds = [Slotted("slot"), Open(), other]
    for _ in range(3):
        assert [quick.field(it) for it in kinds] == ["slot", "open", "of another"]


def test_what_inherits_a_field_has_it_in_its_place(quick: ModuleType) -> None:
    class Heir(Slotted):
        __slots__ = ("more",)

    assert [quick.field(Heir("heir")) for _ in range(3)] == ["heir"] * 3


def test_a_field_that_is_unset_is_missed_as_ever(quick: ModuleType) -> None:
    it = Slotted()
    assert quick.field(it) == 1
    del it.field
    with pytest.raises(AttributeError, match="field"):
        quick.field(it)
    it.field = 3
    assert quick.field(it) == 3


def test_a_class_that_changes_is_looked_at_again(quick: ModuleType) -> None:
    class Changing:
        __slots__ = ("field",)

    it: Any = Changing()
    it.field = "slot"
    assert [quick.field(it) for _ in range(3)] == ["slot"] * 3
    setattr(Changing, "field", property(lambda _: "property"))  # noqa: B010 - mypy knows the slot
    assert [quick.field(it) for _ in range(3)] == ["property"] * 3
    delattr(Changing, "field")
    with pytest.raises(AttributeError, match="field"):
        quick.field(it)


def test_a_base_that_changes_is_looked_at_again(quick: ModuleType) -> None:
    base = fresh("base")
    heir = type("Heir", (base,), {"__slots__": ()})
    assert [quick.call(heir(), 1) for _ in range(3)] == [("base", 1)] * 3
    base.method = lambda _, given: ("changed", given)
    assert quick.call(heir(), 2) == ("changed", 2)


def test_an_object_may_become_one_of_another_class(quick: ModuleType) -> None:
    one, two = fresh("one"), fresh("two")
    it = one()
    assert [quick.call(it, 1) for _ in range(3)] == [("one", 1)] * 3
    it.__class__ = two
    assert quick.call(it, 1) == ("two", 1)


def test_a_place_that_is_given_names_finds_each(quick: ModuleType) -> None:
    it = Slotted("field", "other")
    for _ in range(3):
        assert [quick.named(it, name) for name in ("field", "other")] == ["field", "other"]
    # A name that is made anew, where one of before lay.
    for _ in range(100):
        assert quick.named(it, "".join(["fi", "eld"])) == "field"
        assert quick.named(it, "".join(["ot", "her"])) == "other"


def test_fields_that_are_no_objects_are_made_to_be(quick: ModuleType) -> None:
    for _ in range(3):
        assert [quick.named(2.5 + 1j, name) for name in ("real", "imag")] == [2.5, 1.0]
        assert quick.named(2.5 + 1j, "imag") == 1.0
        assert quick.named(slice(1, 2), "stop") == 2
        assert quick.named(test_fields_that_are_no_objects_are_made_to_be, "__closure__") is None


def test_a_method_is_that_of_the_class_unless_the_object_has_one(quick: ModuleType) -> None:
    it: Any = Open()
    assert [quick.call(it, 1) for _ in range(3)] == [("open", 1)] * 3
    it.method = lambda given: ("own", given)
    assert quick.call(it, 1) == ("own", 1)
    assert quick.call(Open(), 1) == ("open", 1)


def test_a_method_that_is_taken_away_as_it_runs_ends_well(quick: ModuleType) -> None:
    kind = fresh("replaced")

    def method(_: object, given: object) -> object:
        del kind.method
        return given

    kind.method = method
    del method
    assert quick.call(kind(), 1) == 1
    with pytest.raises(AttributeError, match="method"):
        quick.call(kind(), 1)


@pytest.mark.parametrize("wrap", [staticmethod, classmethod])
def test_methods_without_the_object_are_called_without_it(quick: ModuleType, wrap: Any) -> None:
    def last(*given: object) -> object:
        return given[-1], len(given)

    kind = type("Kind", (), {"__slots__": (), "method": wrap(last)})
    extra = 2 if wrap is classmethod else 1
    assert [quick.call(kind(), 7) for _ in range(3)] == [(7, extra)] * 3


def test_builtin_methods_and_what_they_raise(quick: ModuleType) -> None:
    class List(list[int]):
        __slots__ = ()
        method = list.index

    assert [quick.call(List([5, 6]), 6) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(ValueError, match="not in list"):
        quick.call(List([5, 6]), 7)


def test_whatever_can_be_called_is(quick: ModuleType) -> None:
    class Callable:
        def __call__(self, given: object) -> object:
            return given

    many: list[Any] = [lambda given: given, tuple, Callable(), Callable().__call__, list]
    assert [tuple(quick.apply(it, 1, 2)) for it in many] == [(1, 2)] * 5
    assert quick.apply(len, 1, 2) == 2
    with pytest.raises(TypeError, match="not callable"):
        quick.apply(1)


def test_each_thread_is_told_its_own_number(quick: ModuleType) -> None:
    class get_ident:  # noqa: N801 - it is only called so
        def __call__(self) -> str:
            return "another"

    told: list[tuple[int, ...]] = []
    both = threading.Barrier(4)

    def asks() -> None:
        both.wait(30)
        for _ in range(300):
            told.append((quick.ask(threading.get_ident), threading.get_ident()))
            time.sleep(0)

    threads = [threading.Thread(target=asks) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({number for number, _ in told}) == 4
    assert all(number == right for number, right in told)
    assert quick.ask(get_ident()) == "another"
    assert [quick.ask(asking) for asking in (dict, [1].copy, gc.isenabled)] == [{}, [1], True]
    assert quick.ask(threading.get_ident) == threading.get_ident()
    with pytest.raises(IndexError):
        quick.ask([].pop)


def test_a_name_of_the_module_is_what_it_is_now(quick: ModuleType) -> None:
    assert [quick.word() for _ in range(3)] == ["first"] * 3
    setattr(quick, "name", "second")  # noqa: B010 - mypy knows no attribute of a module that is made
    assert quick.word() == "second"
    delattr(quick, "name")
    with pytest.raises(KeyError, match="name"):  # so mypyc says that there is no such name
        quick.word()
    setattr(quick, "name", "first")  # noqa: B010 - as above


def test_an_item_is_that_of_the_dict_as_it_is(quick: ModuleType) -> None:
    one, two = {"key": 1}, {"key": 2}
    for _ in range(3):
        assert (quick.item(one, "key"), quick.item(two, "key")) == (1, 2)
    one["key"] = 3
    assert quick.item(one, "key") == 3
    del one["key"]
    with pytest.raises(KeyError, match="key"):
        quick.item(one, "key")
    one.update(key=4)
    assert quick.item(one, "key") == 4


def test_a_place_that_is_given_keys_finds_each(quick: ModuleType) -> None:
    items = {"key": 1, "other": 2}
    for _ in range(3):
        assert [quick.item(items, key) for key in ("key", "other")] == [1, 2]
        assert quick.item(items, "key") == 1


def test_items_come_and_go_at_the_same_addresses(quick: ModuleType) -> None:
    for number in count():
        items = {"key": str(number)}
        assert quick.item(items, "key") == str(number)
        if number == 500:
            break


@pytest.mark.parametrize(
    "texts",
    [
        ("a", "b", "c"),
        ("", "", ""),
        ("a" * 1000, "", "z"),
        ("é", "b", "c"),
        ("a", "Ω", "c"),
        ("a", "b", "😀"),
        ("é", "Ω", "😀"),
        ("\ud800", "b", "\0"),
    ],
)
def test_texts_are_joined_whatever_they_hold(
    quick: ModuleType, texts: tuple[str, str, str]
) -> None:
    assert quick.join(*texts) == "-".join(texts)


def test_a_text_of_another_class_is_joined_by_what_it_holds(quick: ModuleType) -> None:
    class Text(str):
        __slots__ = ()

    got = quick.join(Text("a"), "b", Text("ü"))
    assert got == "a-b-ü"
    assert type(got) is str


@pytest.mark.parametrize(
    "number", [0, 1, 9, 10, 999, 1000, -1, -999, 2**61, 2**62, 2**80, -(2**80)]
)
def test_numbers_are_written_in_full(quick: ModuleType, number: int) -> None:
    assert [quick.number(number) for _ in range(3)] == [str(number)] * 3


class Bytes(bytes):
    __slots__ = ()


@given(
    st.binary(max_size=40).map(lambda data: bytes(byte % 3 for byte in data)),
    st.binary(max_size=4).map(lambda data: bytes(byte % 3 for byte in data)),
    st.none() | st.integers(-50, 50) | st.sampled_from([2**70, -(2**70), True]),
)
def test_bytes_are_searched_as_ever(
    quick: ModuleType, text: bytes, wanted: bytes, start: int | None
) -> None:
    args = (wanted,) if start is None else (wanted, start)
    for it in (text, text, Bytes(text), Bytes(text)):  # what came before is remembered
        assert quick.find(it, *args) == text.find(*args)
        assert quick.starts(it, *args) is text.startswith(*args)
        assert quick.counts(it, *args) == text.count(*args)
        assert quick.has(it, wanted) is (wanted in text)
        assert quick.find(it, Bytes(wanted), *args[1:]) == text.find(*args)


@pytest.mark.parametrize("ending", [b"", b"abc", b"bbc"])
def test_what_misleads_often_is_searched_to_its_end(quick: ModuleType, ending: bytes) -> None:
    text = b"bc" * 500 + ending
    for start in (0, 1, 900, 1000):
        assert quick.find(text, b"abc", start) == text.find(b"abc", start)
        assert quick.find(text, b"c", start) == text.find(b"c", start)
        assert quick.counts(text, b"c", start) == text.count(b"c", start)
    assert quick.has(text, b"abc") is (ending == b"abc")


@given(st.text("ab.é€", max_size=12), st.text("ab.é€", max_size=4))
@example("a" * 99 + "b", "ab")
@example("a" * 99, "a" * 70)
@example("aab" * 99, "abb")
@example("", "")
def test_texts_are_searched_as_ever(quick: ModuleType, text: str, what: str) -> None:
    assert quick.has_text(text, what) == (what in text)


def test_nothing_is_read_beyond_the_bytes(quick: ModuleType) -> None:
    for _ in range(3):
        assert quick.starts(b"abc", b"abc\0") is False  # which stands behind them
        assert quick.starts(b"abc", b"", 4) is False
        assert [quick.counts(b"abc", b"c", start) for start in (2, 3, 4, 2**40)] == [1, 0, 0, 0]
        assert [quick.find(b"abc", b"c", start) for start in (2, 3, 4, 2**40)] == [2, -1, -1, -1]


def test_what_is_called_find_is_asked_of_its_own_type(quick: ModuleType) -> None:
    class Finder:
        __slots__ = ()

        def find(self, *args: object, **named: object) -> object:
            return args, named

    for it, what in ((b"abc", b"c"), (bytearray(b"abc"), b"c"), ("abc", "c")):
        assert [quick.found(it, what) for _ in range(3)] == [2] * 3
        for _ in range(3):
            with pytest.raises(TypeError):
                quick.found(it)
            with pytest.raises(TypeError, match="keyword"):
                quick.named_start(it, 0)
    assert quick.found(Finder()) == ((), {})
    assert quick.named_start(Finder(), 1) == ((b"c",), {"start": 1})
    for _ in range(3):
        assert quick.counts(b"abac", b"ab") == 1


def test_what_else_bytes_take_is_taken(quick: ModuleType) -> None:
    for _ in range(3):
        assert quick.find(b"abc", 98) == 1
        assert quick.find(b"abc", bytearray(b"c")) == 2
        assert quick.find(b"abc", b"a", None) == 0
        assert quick.starts(b"abc", (b"x", b"ab")) is True
        assert quick.counts(b"abca", 97) == 2
        assert quick.has(b"abc", 98) is True
        assert quick.has(b"abc", bytearray(b"bc")) is True
        with pytest.raises(ValueError, match="range"):
            quick.has(b"abc", 256)
        with pytest.raises(TypeError, match="bytes-like"):
            quick.has(b"abc", "a")
        with pytest.raises(TypeError, match="bytes-like"):
            quick.find(b"abc", "c")
        with pytest.raises(TypeError, match="startswith first arg"):
            quick.starts(b"abc", "a")
        with pytest.raises(TypeError, match="slice indices"):
            quick.find(b"abc", b"a", "0")


def test_a_compiled_coroutine_is_called_as_the_method_that_it_is(quick: ModuleType) -> None:
    async def main() -> list[Any]:
        kinds = [quick.Waiting(number) for number in range(3)]
        return [await quick.call(kind, "given") for kind in kinds]

    assert asyncio.run(main()) == [(0, "given"), (1, "given"), (2, "given")]


def everything(quick: ModuleType) -> Iterator[object]:
    it, kind = Slotted(), fresh("kept")()
    items = {"key": it}
    yield quick.field(it)
    yield quick.call(kind, it)
    yield quick.apply(len, it)
    yield quick.item(items, "key")
    yield quick.word()
    yield quick.join("a", "b", "c")
    yield quick.number(7)
    yield quick.find(b"abc", b"c")
    yield quick.starts(b"abc", b"c")
    yield quick.counts(b"abc", b"c")
    yield quick.has(b"abc", b"c")


def test_what_is_freed_is_used_again_only_when_all_of_it_is_let_go(quick: ModuleType) -> None:
    made: list[Any] = []

    class Last:
        """Makes another coroutine of the same function at its own end, as clean-ups do."""

        def __del__(self) -> None:
            made.append(quick.pair("first", "second"))

    for _ in range(3):
        quick.pair(Last(), Last())
    assert len(made) == 6
    assert [asyncio.run(one) for one in made] == [("first", "second")] * 6


def test_nothing_is_held_or_given_away(quick: ModuleType) -> None:
    watched: list[Any] = [Slotted, len, quick.word, "key", quick.__dict__["name"]]
    list(everything(quick))
    before = [sys.getrefcount(it) for it in watched]
    for _ in range(1000):
        list(everything(quick))
    assert [
        abs(sys.getrefcount(it) - was) < 50 for it, was in zip(watched, before, strict=True)
    ] == [True] * len(watched)


def test_what_awaits_is_answered(quick: ModuleType) -> None:
    async def work(answer: object) -> object:
        await asyncio.sleep(0)
        return answer

    class Awaitable:
        def __await__(self) -> Iterator[Any]:
            return work("awaited").__await__()

    async def main() -> None:
        assert await quick.wait(work("sent")) == "sent"
        assert await quick.wait(Awaitable()) == "awaited"
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_result(1)
        assert await quick.wait(future) == 1
        with pytest.raises(TypeError, match="int"):
            await quick.wait(1)

    asyncio.run(main())
