"""What a protected call costs, beside the libraries that protect the same.

`./dev bench policy [--rounds 7] [--seconds 0.05] [--quick]`: about two minutes. Nanoseconds of CPU
per call, the medians of rounds that alternate over all contenders; in brackets the ratio to the
first row of the group, which is ours. Python's garbage collector rests while a round is measured,
Node's cannot.
"""

import argparse
import asyncio
import platform
import statistics
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from importlib.metadata import version
from typing import NamedTuple

from bench._harness.calls import LOOPS, Round
from bench._harness.source import build
from bench._harness.table import print_rows
from bench.policy.contenders import AT_ONCE, WORKS, Contender, groups
from bench.policy.node import node

Groups = Mapping[str, Sequence[Contender]]
Place = tuple[str, str]
"""A group and a contender of it."""
_PEERS = ("tenacity", "stamina", "pybreaker", "purgatory", "aiobreaker", "pyresilience", "hyx",
          "interlock-cb")  # fmt: skip


class Figures(NamedTuple):
    """Nanoseconds per call, and for who has none the reason."""

    costs: dict[Place, float]
    reasons: dict[Place, str]


async def alternate(wanted: Groups, work: str, rounds: int, seconds: float) -> Figures:
    """Measure every contender in turn, round after round. One that breaks is left out and told."""
    seen: dict[Place, list[float]] = {}
    reasons: dict[Place, str] = {}
    measures: dict[Place, Round] = {}
    for group, contenders in wanted.items():
        for one in contenders:
            try:
                measures[group, one.name] = await one.make(work, seconds)
            except Exception as error:  # noqa: BLE001 - a peer's defect is its row's, not the table's
                reasons[group, one.name] = _reason(error)
    for _ in range(rounds):
        for place, measure in measures.items():
            if place in reasons:
                continue
            try:
                seen.setdefault(place, []).append(await measure())
            except Exception as error:  # noqa: BLE001 - as above
                reasons[place] = _reason(error)
    costs = {place: statistics.median(each) for place, each in seen.items() if place not in reasons}
    return Figures(costs, reasons)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def print_table(wanted: Groups, columns: Mapping[str, Figures]) -> None:
    """Print a row for every contender, and below the table why a figure is missing."""
    blank = [""] * len(columns)
    width = max(len(one.covers) for each in wanted.values() for one in each)
    rows: list[list[str]] = [["", "covers".ljust(width), *columns]]
    for group, contenders in wanted.items():
        rows.append([f"-- {group}", "", *blank])
        for one in contenders:
            cells = [_cell(figures, group, one, contenders[0]) for figures in columns.values()]
            rows.append([f"   {one.name}", one.covers.ljust(width), *cells])
    print_rows("a protected call, ns of CPU (ratio to the first of the group)", rows)
    missing: dict[tuple[Place, str], list[str]] = {}
    for title, figures in columns.items():
        for reason in figures.reasons.items():
            missing.setdefault(reason, []).append(title)
    for ((group, name), why), titles in missing.items():
        print(f"  no figure: {name} ({group}): {why} ({'; '.join(titles)})")


def _cell(figures: Figures, group: str, one: Contender, first: Contender) -> str:
    cost, base = figures.costs.get((group, one.name)), figures.costs.get((group, first.name))
    if cost is None:
        return "none"
    return f"{cost:.0f} ({cost / base:.2f})" if base else f"{cost:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench policy")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.05, help="of each round")
    parser.add_argument("--quick", action="store_true", help="see that each runs, no more")
    parser.add_argument("--without-node", action="store_true", help="install nothing from npm")
    settings = parser.parse_args()
    rounds, seconds = (1, 0.001) if settings.quick else (settings.rounds, settings.seconds)
    print(
        f"ours: {build()}; Python {platform.python_version()}: "
        + ", ".join(f"{it} {version(it)}" for it in _PEERS)
    )
    columns: dict[str, Figures] = {}
    with nullcontext() if settings.without_node else node() as there:
        print(there.version() if there else "without Node")
        print(
            "suspending: asyncio.sleep(0), in Node setImmediate: one turn of the loop, "
            f"alone or {AT_ONCE} at once"
        )
        wanted = groups(there)
        for loop, factory in LOOPS.items():
            for work in WORKS:
                with asyncio.Runner(loop_factory=factory) as runner:
                    figures = runner.run(alternate(wanted, work, rounds, seconds))
                columns[f"{loop}, {work}"] = figures
    print_table(wanted, columns)


if __name__ == "__main__":
    main()
