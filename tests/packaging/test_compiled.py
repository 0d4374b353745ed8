"""What is compiled is written so that it means the same: mypyc knows less than Python does."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tools import compiled

ROOT = Path(__file__).parents[2]
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"][
    "targets"
]["wheel"]["hooks"]["custom"]
MODULES: list[str] = HOOK["modules"]
FOREIGN = {"NamedTuple", "Protocol", "Exception", "Enum", "IntEnum", "StrEnum", "Generic"}
"""What a class may inherit besides what is compiled as well."""


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / "src" / module).read_text("utf-8"))


@cache
def classes() -> dict[str, list[str]]:
    """Return the bases of every class that is compiled, by its name."""
    return {
        node.name: [ast.unparse(base).partition("[")[0] for base in node.bases]
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ClassDef)
    }


def suspends(nodes: list[ast.stmt]) -> Iterator[int]:
    for node in nodes:
        for one in ast.walk(node):
            if isinstance(one, ast.Await | ast.AsyncFor | ast.AsyncWith | ast.Yield):
                yield one.lineno


def test_the_list_is_in_order_and_of_modules_that_there_are() -> None:
    assert sorted(set(MODULES)) == MODULES
    assert [name for name in MODULES if not (ROOT / "src" / name).is_file()] == []


@pytest.mark.parametrize("name", classes())
def test_a_class_inherits_only_what_is_compiled_too(name: str) -> None:
    """Another base, a struct's or a thread-local's, would be made nothing of, without a word."""
    known = classes()
    assert [base for base in known[name] if base not in known and base not in FOREIGN] == []


@pytest.mark.parametrize("module", MODULES)
def test_no_coroutine_sleeps_while_it_handles_an_error(module: str) -> None:
    """The error would stay that of whoever runs next: mypyc's coroutines have no state of errors.

    (So another's bare `raise` raised this one's, and errors held one another for ever.)
    """
    found: list[Any] = []
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Try):
            found += suspends(node.finalbody)
            for handler in node.handlers:
                found += suspends(handler.body)
        elif isinstance(node, ast.AsyncWith):
            found.append(node.lineno)
    assert found == []


@pytest.mark.parametrize("module", MODULES)
def test_no_default_stands_for_another(module: str) -> None:
    """A default of `...` is no value of its type, which is looked at."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.arguments):
            defaults = [*node.defaults, *(one for one in node.kw_defaults if one is not None)]
            assert not any(
                isinstance(one, ast.Constant) and one.value is ... for one in defaults
            ), module


def test_it_is_done_only_when_asked_for() -> None:
    assert HOOK["enable-by-default"] is False


def test_no_attribute_is_called_what_c_takes_for_a_word_of_its_own() -> None:
    """To the name of each mypyc puts an underscore before: `_thread` would be `__thread`."""
    named = {
        node.attr
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute)
    }
    assert "_thread" not in named


def test_what_is_missing_for_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    assert compiled.main(tmp_path / "made") == compiled.IMPOSSIBLE
    said = capsys.readouterr()
    assert said.out == ""
    assert "there is no C compiler: 'no-such-compiler' is not on the PATH" in said.err


def test_what_is_there_already_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / ".stamp").write_text(compiled.mark(), "ascii")
    assert compiled.main(tmp_path / "made") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'made'}\n"


@pytest.mark.parametrize("module", MODULES)
def test_no_bound_of_a_slice_does_anything(module: str) -> None:
    """It is evaluated twice: once for the way that suits the type, once for that of any object."""
    calls = [
        (node.lineno, ast.unparse(node))
        for sliced in ast.walk(tree(module))
        if isinstance(sliced, ast.Slice)
        for node in ast.walk(sliced)
        if isinstance(node, ast.Await | ast.NamedExpr)
        or (isinstance(node, ast.Call) and ast.unparse(node.func) not in {"len", "min", "max"})
    ]
    assert calls == []
