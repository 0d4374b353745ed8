"""`./dev bench policy` measures everybody it names, ours and every peer."""

import asyncio
import itertools
import re
import subprocess
import sys

import pytest

from bench._harness.calls import LOOPS
from bench._peers import installed
from bench.policy.__main__ import alternate, print_table
from bench.policy.contenders import WORKS, Contender, Function, decorated, groups

FIGURE = re.compile(r"\d+ \(\d+\.\d\d\)|none")


@pytest.fixture(scope="module")
def said() -> str:
    command = [sys.executable, "-m", "bench.policy", "--quick"]
    if installed() is None:  # a test brings no packages along: ./dev bench policy does
        command.append("--without-node")
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_every_contender_has_its_figures(said: str) -> None:
    rows = iter(said.splitlines())
    for group, contenders in groups(None).items():
        assert any(row.strip() == f"-- {group}" for row in rows)
        for one in contenders:
            row = next(rows)
            assert row.strip().startswith(one.name)
            costs = FIGURE.findall(row)
            assert len(costs) == len(LOOPS) * len(WORKS), row
            if "Node" in one.name and installed() is None:
                assert set(costs) == {"none"}
                continue
            for cost, (work, _) in zip(costs, itertools.cycle(WORKS.items()), strict=False):
                unable = one.name == "pybreaker, not async" and work != "nothing"
                assert (cost == "none") == unable, said


def test_who_has_no_figure_is_told_with_the_reason(said: str) -> None:
    missing = [row for row in said.splitlines() if row.strip().startswith("no figure: ")]
    assert len([row for row in missing if "pybreaker, not async" in row]) == 1
    assert all("it is not async" in row or "there is no Node to ask" in row for row in missing)


def test_a_peer_that_breaks_costs_its_own_row_alone(capsys: pytest.CaptureFixture[str]) -> None:
    calls = 0

    def never(function: Function) -> Function:
        raise ImportError("gone")

    def late(function: Function) -> Function:
        async def protected(value: int) -> int:
            nonlocal calls
            calls += 1
            if calls > 3:
                raise ZeroDivisionError("late")
            return value

        return protected

    def wrong(function: Function) -> Function:
        async def protected(value: int) -> int:
            return value + 1

        return protected

    def plain(function: Function) -> Function:
        return function

    protects = {"ours": plain, "never": never, "late": late, "wrong": wrong, "last": plain}
    wanted = {"all": [Contender(name, "", decorated(way)) for name, way in protects.items()]}
    figures = asyncio.run(alternate(wanted, "nothing", rounds=2, seconds=0.0001))
    print_table(wanted, {"here": figures})
    said = capsys.readouterr().out
    assert {name for _, name in figures.costs} == {"ours", "last"}
    assert re.search(r"^ +ours +\d+ \(1\.00\)$", said, re.MULTILINE)
    assert re.search(r"^ +late +none$", said, re.MULTILINE)
    assert "no figure: never (all): ImportError: gone (here)" in said
    assert "no figure: late (all): ZeroDivisionError: late (here)" in said
    assert "no figure: wrong (all): RuntimeError: it answered 8 (here)" in said
