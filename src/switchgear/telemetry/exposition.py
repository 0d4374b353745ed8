"""Exposition: the figures of several processes as one Prometheus text page.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterator, Mapping
from math import inf, isnan
from typing import Final

from switchgear.telemetry.metrics import FamilyShot, Series, Snapshot

__all__ = ["CONTENT_TYPE", "render"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render(processes: Mapping[str, Snapshot]) -> bytes:
    """Merge snapshots by family, each series marked with the process that it came from.

    A process whose family differs in kind, labels or bounds from the first one seen (two versions
    side by side) is left out of that family, and `switchgear_metric_conflicts` counts it.
    """
    families: dict[str, tuple[FamilyShot, list[tuple[str, FamilyShot]]]] = {}
    conflicts: dict[str, int] = {}
    for process, snapshot in processes.items():
        for shot in snapshot:
            first, members = families.setdefault(shot.name, (shot, []))
            if _shape(first) == _shape(shot):
                members.append((process, shot))
            else:
                conflicts[process] = conflicts.get(process, 0) + 1
    lines: list[str] = []
    for name, (first, members) in families.items():
        lines += (f"# HELP {name} {_help(first.help)}", f"# TYPE {name} {first.kind}")
        for process, shot in members:
            for series in shot.series:
                lines += _samples(process, shot, series)
    if conflicts:
        lines += (
            "# HELP switchgear_metric_conflicts Families left out: another process has others.",
            "# TYPE switchgear_metric_conflicts gauge",
        )
        lines += [
            f'switchgear_metric_conflicts{{process="{_escape(process)}"}} {count}'
            for process, count in conflicts.items()
        ]
    return ("\n".join(lines) + "\n").encode() if lines else b""


def _shape(shot: FamilyShot) -> tuple[object, ...]:
    return shot.kind, shot.labels, shot.bounds


def _samples(process: str, shot: FamilyShot, series: Series) -> Iterator[str]:
    pairs = [f'process="{_escape(process)}"']
    pairs += [
        f'{label}="{_escape(value)}"'
        for label, value in zip(shot.labels, series.labels, strict=True)
    ]
    inner = ",".join(pairs)
    if shot.kind != "histogram":
        yield f"{shot.name}{{{inner}}} {_number(series.value)}"
        return
    running = 0
    for bound, count in zip((*shot.bounds, inf), series.buckets, strict=True):
        running += count
        yield f'{shot.name}_bucket{{{inner},le="{_number(bound)}"}} {running}'
    yield f"{shot.name}_sum{{{inner}}} {_number(series.value)}"
    yield f"{shot.name}_count{{{inner}}} {running}"


def _number(value: float) -> str:
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) else repr(value)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
