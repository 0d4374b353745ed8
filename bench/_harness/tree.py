"""The CPU time and memory of a process and all its descendants, from /proc."""

import os
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Used", "held", "used"]

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Used(NamedTuple):
    """Seconds of CPU so far (user and system, ended children too), and bytes held now.

    `kernel` is the system's part of the seconds.
    """

    cpu: float
    resident_bytes: int
    kernel: float


class _Stat(NamedTuple):
    parent: int
    ticks: int
    pages: int
    system: int  # of the ticks


def used(pid: int) -> Used:
    """Add up a process tree. Raises ProcessLookupError when its root is gone."""
    tree = _tree(pid)
    ticks = sum(stat.ticks for stat in tree.values())
    system = sum(stat.system for stat in tree.values())
    pages = sum(stat.pages for stat in tree.values())
    return Used(ticks / _TICK, pages * _PAGE, system / _TICK)


def held(pid: int) -> int:
    """Return the bytes that a process tree holds, each shared page once and not once per process.

    Else a database would seem to hold its shared buffers as often as it has connections.
    Raises ProcessLookupError when its root is gone.
    """
    return sum(_share(one, stat) for one, stat in _tree(pid).items())


def _share(pid: int, stat: _Stat) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # another's process, or one that has ended
        return stat.pages * _PAGE
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _tree(root: int) -> dict[int, _Stat]:
    stats = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _stat(int(name))) is not None:
            stats[int(name)] = stat
    if root not in stats:
        raise ProcessLookupError(f"process {root} is gone")
    tree, todo = {}, [root]
    while todo:
        one = todo.pop()
        tree[one] = stats[one]
        todo += [child for child, stat in stats.items() if stat.parent == one]
    return tree


def _stat(pid: int) -> _Stat | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    # From field 3 (state) on: 4 parent, 14 to 17 utime stime cutime cstime, 24 rss.
    user, system, ended, ended_system = (int(ticks) for ticks in fields[11:15])
    ticks = user + system + ended + ended_system
    return _Stat(int(fields[1]), ticks, int(fields[21]), system + ended_system)
