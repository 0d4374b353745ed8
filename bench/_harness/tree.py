"""The CPU time and memory of a process and all its descendants, from /proc."""

import os
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Used", "used"]

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Used(NamedTuple):
    """Seconds of CPU so far (user and system, ended children too), and bytes held now."""

    cpu: float
    resident_bytes: int


class _Stat(NamedTuple):
    parent: int
    ticks: int
    pages: int


def used(pid: int) -> Used:
    """Add up a process tree. Raises ProcessLookupError when its root is gone."""
    stats = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _stat(int(name))) is not None:
            stats[int(name)] = stat
    if pid not in stats:
        raise ProcessLookupError(f"process {pid} is gone")
    tree, todo = set(), [pid]
    while todo:
        one = todo.pop()
        tree.add(one)
        todo += [child for child, stat in stats.items() if stat.parent == one]
    ticks = sum(stats[one].ticks for one in tree)
    return Used(ticks / _TICK, sum(stats[one].pages for one in tree) * _PAGE)


def _stat(pid: int) -> _Stat | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    # From field 3 (state) on: 4 parent, 14 to 17 utime stime cutime cstime, 24 rss.
    return _Stat(int(fields[1]), sum(int(ticks) for ticks in fields[11:15]), int(fields[21]))
