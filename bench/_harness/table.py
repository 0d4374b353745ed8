"""Figures as tables, with the ratio to the first row."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench._harness.load import generator
from bench._harness.pinning import cpus
from bench._harness.rounds import Figures, Measured
from bench._harness.source import build

__all__ = [
    "Aim",
    "print_aims",
    "print_calls",
    "print_ground",
    "print_measured",
    "print_rows",
    "print_tail",
]


class Aim(NamedTuple):
    """At most how many times what another costs one is to cost."""

    one: str
    other: str
    most: float


def print_ground() -> None:
    """Say under which conditions the figures were taken."""
    server, load = cpus()
    where = "servers and load share every CPU" if server is None else f"CPU {server} and {load}"
    print(f"load: {generator()}; {where}; ratios are to the first row, smaller is better")
    print(f"ours: {build()}")


def print_measured(title: str, measured: Measured) -> None:
    """Print what a request costs each contender, and why one has no figures or wrong ones."""
    rows: list[tuple[str, ...]] = [
        ("", "CPU us", "kernel", "ratio", "req/s", "p50 ms", "p99 ms", "errors", "MiB", "busy %")
    ]
    base = next((one.cpu for one in measured.figures.values() if not one.invalid), 0.0)
    rows += [_row(name, one, base) for name, one in measured.figures.items()]
    print_rows(title, rows)
    for name, one in measured.figures.items():
        if one.invalid:
            print(f"  INVALID: {name}: {one.invalid}")
    for name, reason in measured.reasons.items():
        print(f"  no figures: {name}: {reason}")


def _row(name: str, one: Figures, base: float) -> tuple[str, ...]:
    return (
        name,
        f"{one.cpu:.1f}",
        f"{one.kernel:.1f}",
        "INVALID" if one.invalid else f"{one.cpu / base:.2f}",
        f"{one.rate:.0f}",
        f"{one.p50 * 1000:.2f}",
        f"{one.p99 * 1000:.2f}",
        str(one.errors),
        f"{one.held_bytes / 2**20:.0f}",
        f"{one.busy * 100:.0f}",
    )


def print_aims(measured: Measured, aims: Sequence[Aim]) -> None:
    """Say of each aim whether it is met; one of whose sides has no figures is not judged."""
    told = {name: one for name, one in measured.figures.items() if not one.invalid}
    for one, other, most in aims:
        if one in told and other in told:
            ratio = told[one].cpu / told[other].cpu
            met = "met" if ratio <= most else "MISSED"
            print(f"  aim {met}: {one} costs {ratio:.2f} of {other}, {most:.2f} at most")
        else:
            print(f"  aim not judged: {one} of {other}, {most:.2f} at most")


def print_tail(measured: Measured, one: str, most: float) -> None:
    """Say whether the p99 of one is near the best of all."""
    told = {name: each.p99 for name, each in measured.figures.items() if not each.invalid}
    if one in told:
        best = min(told, key=lambda name: told[name])
        ratio = told[one] / told[best]
        met = "met" if ratio <= most else "MISSED"
        print(f"  aim {met}: the p99 of {one} is {ratio:.2f} of {best}'s, {most:.2f} at most")


def print_calls(title: str, columns: Mapping[str, Mapping[str, float]]) -> None:
    """Print nanoseconds per call: a column for each event loop, ratios beside."""
    loops = list(columns)
    names = list(columns[loops[0]])
    rows: list[tuple[str, ...]] = [("", *(cell for loop in loops for cell in (loop, "ratio")))]
    for name in names:
        cells = []
        for loop in loops:
            cost = columns[loop][name]
            cells += [f"{cost:.0f}", f"{cost / columns[loop][names[0]]:.2f}"]
        rows.append((name, *cells))
    print_rows(f"{title}, ns per call", rows)


def print_rows(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a title: the first column to the left, figures to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    print(f"\n{title}")
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells))
