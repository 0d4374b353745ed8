"""Roles: what a process is for, and what it is given to do it with."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from switchgear.assembly.messages import Degraded, Ready, RoleSpec, Upward
from switchgear.assembly.settings import Settings
from switchgear.assembly.status import Status
from switchgear.assembly.target import Target
from switchgear.assembly.topology import TopologyFeed
from switchgear.telemetry.logs import Log
from switchgear.telemetry.metrics import Registry

__all__ = [
    "Answer",
    "Auxiliary",
    "Companion",
    "Office",
    "Plan",
    "Planner",
    "Post",
    "Role",
    "RoleContext",
    "RoleSpec",
    "Teller",
]

Answer = Callable[[Any], Awaitable[Any]]
"""Answers one verb on a control socket: takes the body, returns what msgspec can encode."""


class Auxiliary(Protocol):
    """Something that is no Python role and that the roles need: the embedded database.

    It is started before the roles run and stopped after the last of them. `start` recovers what a
    killed run left behind, and is called again when `alive` turns false; `alive` is asked
    several times a second and must be cheap. `stop` may come while `start` is still running.
    `trouble` says what is wrong with one that is alive, or nothing.
    """

    name: str

    @property
    def external(self) -> bool:
        """Whether somebody else runs it, so that a role that runs alone may use it, too."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def alive(self) -> bool: ...

    def trouble(self) -> str: ...

    def offers(self) -> Mapping[str, str]:
        """Return what roles need to reach it, by name; a role gets what its spec names."""
        ...


class Companion(Protocol):
    """Something that lives in the supervisor beside its work: the admin server."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Teller(Protocol):
    """What an admin server tells of: a supervisor, or a process that runs singly."""

    def status(self) -> Status: ...

    def sockets(self) -> Mapping[str, Path]:
        """Return the control sockets of all processes that live, by label."""
        ...


class Office(Teller, Protocol):
    """What may be asked of a supervisor, by the admin server and the command line."""

    def stop(self, why: str) -> None: ...

    def replace(self, label: str | None = None) -> list[str]: ...


class Plan(NamedTuple):
    """Everything that `up` starts. `admin` makes the admin server on its listening socket."""

    roles: tuple[RoleSpec, ...]
    auxiliaries: tuple[Auxiliary, ...] = ()
    admin: Callable[[Teller, socket.socket], Companion] | None = None


class Post(msgspec.Struct, frozen=True):
    """Which process this is. `endpoint` is where its peers will look for it ("unix:/path")."""

    role: str
    index: int = 1
    generation: int = 1
    endpoint: str = ""

    @property
    def label(self) -> str:
        """The name of the process: "service-1"."""
        return f"{self.role}-{self.index}"


class RoleContext:
    """All that a role's body is given, and the few things it says back.

    `sockets` are the public listening sockets of a gateway. `app` is the loaded application,
    `offers` what the auxiliaries give (the database's URL), `boot_key` 32 bytes that all processes
    of this boot share. `draining` is set when the role must stop taking work, finish what it has
    within `drain_within` seconds and return; before that it may be `leaving`, which is to be
    unready and to go on. `unprinted` counts the lines that were printed here
    and nobody took. `requests` may be replaced by a function that tells how many requests were
    served; `answers` gains verbs for the control socket, `late` what is told, again and again, by
    how many seconds the event loop runs late.
    """

    def __init__(
        self,
        post: Post,
        settings: Settings,
        log: Log,
        *,
        app: Any = None,
        boot_key: bytes = b"",
        sockets: tuple[socket.socket, ...] = (),
        offers: Mapping[str, str] | None = None,
        topology: TopologyFeed | None = None,
        inside: tuple[RoleSpec, ...] = (),
        unprinted: Callable[[], int] = int,
        tell: Callable[[Upward], None],
    ) -> None:
        self.post = post
        self.settings = settings
        self.log = log
        self.app = app
        self.boot_key = boot_key
        self.sockets = sockets
        self.offers: Mapping[str, str] = offers or {}
        self.topology = topology or TopologyFeed()
        self.inside = inside
        self.unprinted = unprinted
        self.registry = Registry()
        self.answers: dict[str, Answer] = {}
        self.requests: Callable[[], int] = int
        self.late: list[Callable[[float], object]] = []
        self.leaving = False
        self.draining = asyncio.Event()
        self.drain_within = settings.supervisor.drain
        self.overran = False  # it could not finish what it had within that time
        self._tell = tell
        self._reasons: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The role: "gateway"."""
        return self.post.role

    @property
    def label(self) -> str:
        """The process: "gateway-1"."""
        return self.post.label

    def ready(self, address: str = "") -> None:
        """Say that this process serves, at `address` if not at the post's endpoint."""
        self._tell(Ready(address or self.post.endpoint))

    def degraded(self, dependency: str, reason: str | None) -> None:
        """Say that a dependency does not serve us, or, with None, that it does again.

        The process stays ready: a shared dependency that is down must not turn every replica
        unready, or its failure becomes everybody's.
        """
        before = dict(self._reasons)
        if reason is None:
            self._reasons.pop(dependency, None)
        else:
            self._reasons[dependency] = reason
        if self._reasons != before:
            self._tell(Degraded(self.complaints))

    @property
    def reasons(self) -> Mapping[str, str]:
        """What is degraded now, by dependency."""
        return self._reasons

    @property
    def complaints(self) -> tuple[str, ...]:
        """The same as sentences, for whoever asks for the state of this process."""
        return tuple(f"{key}: {text}" for key, text in self._reasons.items())

    def drain(self, within: float, after: float = 0.0) -> None:
        """Ask the role to finish, and to be unready and go on for `after` seconds before it does.

        The host calls it; a second call shortens the times only.
        """
        self.drain_within = min(self.drain_within, within)
        self.leaving = True
        if after > 0:
            asyncio.get_running_loop().call_later(after, self.draining.set)
        else:
            self.draining.set()

    def give_up(self, what: str) -> None:
        """Say that something did not end within the drain: it is cut, and this is no clean end."""
        self.overran = True
        told = f"{what}: the drain took too long"
        self.log.warning(told)


Role = Callable[[RoleContext], Awaitable[None]]
"""A role's body: it runs until `draining` is set and its work is finished, and then returns."""

Planner = Callable[[Settings, Target], Plan]
"""Says what a system consists of: `switchgear.assembly.build:plan`."""
