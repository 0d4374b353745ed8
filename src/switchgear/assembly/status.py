"""What a supervisor tells of its processes: to the live table, the admin port, the command line."""

import msgspec

from switchgear.assembly.topology import State

__all__ = ["Figures", "Row", "Status"]


class Figures(msgspec.Struct, frozen=True):
    """What a process said of itself in its last beat; `rate` is in requests per second."""

    resident_bytes: int = 0
    cpu: float = 0.0
    requests: int = 0
    rate: float = 0.0
    lag: float = 0.0


class Row(msgspec.Struct, frozen=True):
    """One seat. `last` says how its process ended the last time; `pid` is 0 while it is down."""

    label: str
    role: str
    state: State
    pid: int
    restarts: int
    uptime: float
    figures: Figures
    degraded: tuple[str, ...] = ()
    last: str = ""


class Status(msgspec.Struct, frozen=True):
    """The whole system at one instant. `auxiliaries` maps each to whether it is alive.

    `troubles` says what is wrong with one of them, or with the supervisor itself, that runs all the
    same: a log that cannot be written, a disk that is full.
    """

    pid: int
    url: str
    admin: str
    ready: bool
    draining: bool
    uptime: float
    rows: list[Row]
    auxiliaries: dict[str, bool]
    troubles: dict[str, str] = {}
