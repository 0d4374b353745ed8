"""The mutation runner: which places it breaks, and that no survivor goes by unseen."""

from pathlib import Path

import pytest

from tools.mutants import mutants
from tools.mutate import Module, Survivor, report


def changes(source: str) -> list[str]:
    return [mutant.change for mutant in mutants(source, "toy.py")]


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("a = b < c", "b < c -> b <= c"),
        ("a = b < c", "b < c -> b >= c"),
        ("a = b + c", "b + c -> b - c"),
        ("a = b and c", "b and c -> b or c"),
        ("a = b and c", "b and c -> c"),
        ("a = not b", "not b -> b"),
        ("a = 3", "3 -> 4"),
        ("a = 3", "3 -> 2"),
        ("a = True", "True -> False"),
        ("a = 'name'", "'name' -> 'name_'"),
        ("a = max(b, c)", "max(b, c) -> min(b, c)"),
        ("a = max(b, c)", "max(b, c) -> c"),
        ("f(x=a)", "x=a -> nothing"),
        ("f(a)", "f(a) -> pass"),
        ("if a: f()", "a -> True"),
        ("if a: f()", "a -> False"),
        ("for a in b: f()", "b -> ()"),
        ("while a: break", "break -> continue"),
        ("def f(): return a", "return a -> return None"),
        ("def f(): raise a", "raise a -> pass"),
        ("def f(a=B): return a", "B -> None"),
        ("class A:\n    n: int = 3", "3 -> 4"),
        ("@cached\ndef f(): return a", "cached -> nothing"),
        ("a += 1", "a += 1 -> a -= 1"),
        ("a += 1", "a += 1 -> a = 1"),
        ("a = f'{b + c} of them'", "b + c -> b - c"),
    ],
)
def test_a_place_is_broken(source: str, change: str) -> None:
    assert change in changes(source)


@pytest.mark.parametrize(
    "source",
    [
        "import a",
        '"""What it is for."""',
        "__all__ = ['a', 'b']",
        "T = TypeVar('T')",
        "def f(a: int | str) -> int | str: ...",
        "assert a is not None",
        "if TYPE_CHECKING:\n    from a import b",
        "class A(B, gc=False): ...",
        "a = 'a sentence for people'",
    ],
)
def test_what_nothing_hangs_on_is_left_alone(source: str) -> None:
    assert [change for change in changes(source) if not change.endswith("-> pass")] == []


def test_a_mutant_knows_where_it_stands() -> None:
    source = "class A:\n    def f(self):\n        return self.n  # so far\n"
    first = mutants(source, "toy.py")[0]
    assert (first.row, first.within) == (3, "A.f")
    assert first.line == "return self.n  # so far"


def test_every_mutant_compiles_to_something_else() -> None:
    source = "def f(a):\n    if a > 2:\n        return a * 2\n    return None\n"
    codes = {mutant.code.co_consts for mutant in mutants(source, "toy.py")}
    assert len(codes) > 1
    assert "return None -> pass" not in changes(source)


@pytest.fixture
def toy() -> Module:
    source = "def double(n):\n    return n * 2\n"
    found = mutants(source, "toy.py")
    module = Module("toy", Path("toy.py"), compile(source, "toy.py", "exec"), found, [])
    (survivor,) = (each for each in found if each.change == "n * 2 -> n / 2")
    module.survived = {survivor}
    return module


def known(change: str = "n * 2 -> n / 2") -> Survivor:
    return Survivor("toy", "double", "return n * 2", change, "a reason")


def test_a_survivor_that_is_not_listed_fails(
    toy: Module, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not report(toy, [])
    said = capsys.readouterr().out
    assert "1 NOT LISTED" in said
    assert "toy.py:2 in double" in said
    assert "    - n * 2\n    + n / 2\n" in said


def test_a_survivor_that_is_listed_passes(toy: Module, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(toy, [known()])
    assert "1 change nothing" in capsys.readouterr().out


def test_an_entry_that_is_noticed_by_now_or_exists_no_longer_is_told(
    toy: Module, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(toy, [known(), known("2 -> 3"), known("n * 4 -> n / 4")])
    said = capsys.readouterr().out
    assert "is noticed now: double: return n * 2: 2 -> 3" in said
    assert "exists no longer: double: return n * 2: n * 4 -> n / 4" in said
