"""What happens to processes, one frozen event each; the log and the live table are observers."""

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from switchgear.telemetry.settings import Level

__all__ = [
    "AuxiliaryDown",
    "AuxiliaryUp",
    "Blocked",
    "Degradation",
    "Draining",
    "Ended",
    "Event",
    "Hung",
    "LoadFailed",
    "Observer",
    "Output",
    "ProcessReady",
    "Recovered",
    "Restarting",
    "Routable",
    "SocketsGone",
    "Spawned",
    "Stopped",
    "SystemReady",
    "Unroutable",
]


class Event(msgspec.Struct, frozen=True):
    """Something happened; `name` says what, `level` how grave it is. Durations are seconds."""

    name: ClassVar[str] = ""

    @property
    def level(self) -> Level:
        """How grave it is."""
        return "info"

    def fields(self) -> dict[str, Any]:
        """Return what the log tells of it, durations to the millisecond."""
        return {
            key: round(value, 3) if isinstance(value, float) else value
            for key, value in msgspec.structs.asdict(self).items()
        }


Observer = Callable[[Event], None]


class Spawned(Event, frozen=True):
    """A process was started."""

    name: ClassVar[str] = "process started"
    label: str
    pid: int
    generation: int


class ProcessReady(Event, frozen=True):
    """A process serves, so long after it was started."""

    name: ClassVar[str] = "process ready"
    label: str
    pid: int
    seconds: float


class Unroutable(Event, frozen=True):
    """A process misses its heartbeats; nothing new is sent to it."""

    name: ClassVar[str] = "process unroutable"
    label: str
    pid: int
    silent: float

    @property
    def level(self) -> Level:
        """It may come back, and somebody should know."""
        return "warning"


class Blocked(Event, frozen=True):
    """A process has missed its heartbeats: this is where its loop stands, and all its threads."""

    name: ClassVar[str] = "process blocked"
    label: str
    pid: int
    silent: float
    at: str
    stacks: str

    @property
    def level(self) -> Level:
        """Nobody else is served meanwhile."""
        return "warning"


class Routable(Event, frozen=True):
    """A process that was unroutable beats again."""

    name: ClassVar[str] = "process routable"
    label: str
    pid: int


class Hung(Event, frozen=True):
    """A process was silent for too long: here is what it was doing when it was killed."""

    name: ClassVar[str] = "process hung"
    label: str
    pid: int
    silent: float
    stacks: str

    @property
    def level(self) -> Level:
        """A defect, the process's or the machine's."""
        return "error"


class Ended(Event, frozen=True):
    """A process is dead. `stacks` is what it wrote of a fatal signal."""

    name: ClassVar[str] = "process ended"
    label: str
    pid: int
    how: str
    uptime: float
    wanted: bool
    stacks: str = ""

    @property
    def level(self) -> Level:
        """Fine if we asked for it."""
        return "info" if self.wanted else "error"


class Restarting(Event, frozen=True):
    """A dead process is started again after `delay`; it died `row` times in a row."""

    name: ClassVar[str] = "process restarting"
    label: str
    delay: float
    row: int

    @property
    def level(self) -> Level:
        """One death is news, a row of them is a defect."""
        return "warning" if self.row < 3 else "error"


class LoadFailed(Event, frozen=True):
    """A process cannot be started; starting it again would not help."""

    name: ClassVar[str] = "process cannot start"
    label: str
    sentence: str
    trace: str

    @property
    def level(self) -> Level:
        """Somebody must change something."""
        return "error"


class Degradation(Event, frozen=True):
    """What does not serve a process; no reasons when all is well again."""

    name: ClassVar[str] = "degraded"
    label: str
    reasons: tuple[str, ...]

    @property
    def level(self) -> Level:
        """Good news is information."""
        return "warning" if self.reasons else "info"


class Output(Event, frozen=True):
    """A process printed a line."""

    name: ClassVar[str] = "output"
    label: str
    text: str


class AuxiliaryUp(Event, frozen=True):
    """Something that the roles need runs."""

    name: ClassVar[str] = "auxiliary up"
    label: str
    seconds: float


class AuxiliaryDown(Event, frozen=True):
    """Something that the roles need died, or failed to start; it is tried again after `delay`."""

    name: ClassVar[str] = "auxiliary down"
    label: str
    why: str
    delay: float

    @property
    def level(self) -> Level:
        """The roles are degraded by it."""
        return "error"


class Recovered(Event, frozen=True):
    """A killed run was cleaned up after; `pids` were still running."""

    name: ClassVar[str] = "recovered"
    pids: list[int]

    @property
    def level(self) -> Level:
        """Nobody kills a supervisor for fun."""
        return "warning"


class SocketsGone(Event, frozen=True):
    """Somebody removed the folder by whose sockets processes reach each other; all start anew."""

    name: ClassVar[str] = "sockets gone"
    folder: str
    why: str = ""  # what keeps us from making another, which is tried again

    @property
    def level(self) -> Level:
        """Nothing could be answered meanwhile."""
        return "error"


class SystemReady(Event, frozen=True):
    """Every process serves, at `url`."""

    name: ClassVar[str] = "ready"
    url: str
    admin: str
    seconds: float


class Draining(Event, frozen=True):
    """The system ends in order."""

    name: ClassVar[str] = "draining"
    why: str


class Stopped(Event, frozen=True):
    """The system has ended. `killed` names what did not end by itself in time."""

    name: ClassVar[str] = "stopped"
    seconds: float
    killed: list[str]

    @property
    def level(self) -> Level:
        """A killed process may have lost work."""
        return "warning" if self.killed else "info"
