"""What supervisor and role say to each other on the line between them."""

import msgspec

from switchgear.assembly.target import Target
from switchgear.assembly.topology import Topology

__all__ = [
    "Beat",
    "Boot",
    "Degraded",
    "Downward",
    "Drain",
    "Failed",
    "Feed",
    "Loaded",
    "Ready",
    "RoleSpec",
    "RunAs",
    "Start",
    "Upward",
]


class RunAs(msgspec.Struct, frozen=True):
    """The account that a role started by root drops to."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class RoleSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One role of a plan: how many processes run which body, "package.module:function".

    `public` ones get the listening sockets, `serves` ones have an endpoint in the topology. They
    are drained by rising `rank`. `app` says that the application is loaded into them, `offers`
    which offers of the auxiliaries they get (None: all). `inside` are the roles that one
    process hosts together (development).
    """

    name: str
    body: str
    count: int = 1
    rank: int = 0
    public: bool = False
    serves: bool = False
    app: bool = True
    offers: tuple[str, ...] | None = None
    run_as: RunAs | None = None
    inside: tuple["RoleSpec", ...] = ()


class Boot(msgspec.Struct, frozen=True, tag="boot", omit_defaults=True):
    """The first message down: everything a new process must know.

    It travels on the inherited line and nowhere else, for it holds the boot key. The settings hold
    no secrets: what a role needs of the auxiliaries it gets by its offers. Descriptors are numbers
    in the new process.
    """

    supervisor: int
    spec: RoleSpec
    index: int
    generation: int
    settings: msgspec.Raw
    boot_key: bytes
    app: Target | None = None
    endpoint: str = ""
    control: str = ""
    listeners: tuple[int, ...] = ()
    log: int = 1
    logs: str = ""
    dump: int = 2


class Start(msgspec.Struct, frozen=True, tag="start"):
    """The auxiliaries are up: run the body."""

    offers: dict[str, str]


class Feed(msgspec.Struct, frozen=True, tag="feed"):
    """A newer topology."""

    topology: Topology


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Finish within so many seconds, and end; begin when `after` is over, unready until then."""

    within: float
    after: float = 0.0


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """Code and application are imported; the process waits for its start."""


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """The loop runs. `lag` is its worst lateness since the last beat, `cpu` all seconds used."""

    resident_bytes: int
    cpu: float
    requests: int
    lag: float


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The role serves, at this address if it has one."""

    address: str = ""


class Degraded(msgspec.Struct, frozen=True, tag="degraded"):
    """What does not serve this process; empty when all is well again."""

    reasons: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The process cannot start, and starting it again would not help."""

    sentence: str
    trace: str = ""


Downward = Boot | Start | Feed | Drain
Upward = Loaded | Beat | Ready | Degraded | Failed
