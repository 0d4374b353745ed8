"""Figures as tables, with the ratio to the first row."""

from collections.abc import Mapping, Sequence

from bench._harness.load import generator
from bench._harness.pinning import cpus
from bench._harness.servers import Figures

__all__ = ["print_calls", "print_figures", "print_ground", "print_rows"]


def print_ground() -> None:
    """Say under which conditions the figures were taken."""
    server, load = cpus()
    where = "servers and load share every CPU" if server is None else f"CPU {server} and {load}"
    print(f"load: {generator()}; {where}; ratios are to the first row, smaller is better")


def print_figures(title: str, figures: Mapping[str, Figures]) -> None:
    """Print what a request costs each contender."""
    first = next(iter(figures.values()))
    rows = [("", "CPU us", "ratio", "req/s", "p50 ms", "p99 ms", "errors", "MiB")]
    for name, one in figures.items():
        rows.append(
            (
                name,
                f"{one.cpu:.1f}",
                f"{one.cpu / first.cpu:.2f}",
                f"{one.rate:.0f}",
                f"{one.p50 * 1000:.2f}",
                f"{one.p99 * 1000:.2f}",
                str(one.errors),
                f"{one.resident_bytes / 2**20:.0f}",
            )
        )
    print_rows(title, rows)


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
