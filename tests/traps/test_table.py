"""The table of traps: what docs/traps.md says of tests and patches is so, and all is told."""

import ast
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tools.sabotage import apply, read

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/traps.md"
TRAPS = (*range(1, 20), 37)
PATCHES = sorted((ROOT / "sabotage").glob("*.patch"))


class Row(NamedTuple):
    number: int
    wrong: str
    tests: list[str]
    patches: list[str]


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text().splitlines():
        if re.match(r"\| \d+ \|", line):
            number, wrong, tests, patches = (part.strip() for part in line.strip("|").split("|"))
            named = [re.findall(r"`([^`]+)`", cell) for cell in (tests, patches)]
            found.append(Row(int(number), wrong, *named))
    return found


def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_trap_has_its_row() -> None:
    assert [row.number for row in rows()] == list(TRAPS)
    assert all(row.wrong.endswith(".") for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"trap {row.number}")
def test_a_rows_tests_exist_and_bear_its_number(row: Row) -> None:
    (file,) = row.tests
    assert file.startswith(f"test_trap_{row.number:02}_")
    tests = {name for name in functions(ROOT / "tests/traps" / file) if name.startswith("test_")}
    assert len(tests) >= 2
    assert all(name.startswith(f"test_trap_{row.number:02}_") for name in tests)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"trap {row.number}")
def test_a_rows_patches_are_all_there_are_and_are_caught_by_its_tests(row: Row) -> None:
    there = [path.stem for path in PATCHES if path.stem.startswith(f"trap-{row.number:02}-")]
    assert row.patches == there
    assert there
    for name in there:
        trap = read(ROOT / f"sabotage/{name}.patch")
        assert {Path(test.partition("::")[0]).name for test in trap.tests} == set(row.tests)


def test_no_file_of_traps_stands_outside_the_table() -> None:
    told = {file for row in rows() for file in row.tests}
    assert {path.name for path in (ROOT / "tests/traps").glob("test_trap_*.py")} == told


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_what_a_patch_is_caught_by_exists(path: Path) -> None:
    for test in read(path).tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).exists(), test
        assert not name or name.partition("[")[0] in functions(ROOT / file), test


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_a_patch_fits_the_code_as_it_is(path: Path, tmp_path: Path) -> None:
    """And what it names to catch it exists: to spring them all takes half an hour."""
    trap = read(path)
    touched = re.findall(r"^\+\+\+ (?:b/)?(\S+)", trap.diff, re.MULTILINE)
    for name in touched:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    apply(trap.diff, tmp_path)
    assert touched
    assert any((tmp_path / name).read_text() != (ROOT / name).read_text() for name in touched)
    for test in trap.tests:
        file, _, name = test.partition("::")
        assert not name or name.partition("[")[0].rpartition("::")[2] in functions(ROOT / file)
