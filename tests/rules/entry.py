"""Entries of the catalogue: what is sent, byte for byte, and what must come of it."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from switchgear.gateway.settings import GatewaySettings
from switchgear.http.message import Response
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call

__all__ = [
    "AWAY",
    "BREAK",
    "BYE",
    "END",
    "HOLD",
    "READ",
    "Act",
    "Await",
    "Entry",
    "Pause",
    "Serve",
    "Steps",
    "head",
    "plain",
]


@dataclass(frozen=True)
class Pause:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Await:
    """Wait until these bytes have come from the other side."""

    mark: bytes


@dataclass(frozen=True)
class Act:
    """Do something to the connection."""

    name: str


END = Act("ends its half")  # shutdown(SHUT_WR): the other half is still read
BYE = Act("closes")
BREAK = Act("resets")
HOLD = Act("reads no more")
READ = Act("reads on")
AWAY = Act("drains")  # the process that was asked goes away, in an orderly way

_SERVER = ServerSettings()
_GATEWAY = GatewaySettings()

Steps = bytes | tuple[bytes | Pause | Await | Act, ...]
Serve = Callable[[Call[Any]], Awaitable[Response]]


@dataclass(frozen=True)
class Entry:
    """One clause of a rule, shown by one conversation.

    `answer` says it in short: the status of each answer, with the reason of a refusal, and what
    became of the connection ("400 host, closed"; "200 200, kept"). `forwarded` is what an upstream
    received, without the fields that the gateway adds to every request; None where the entry does
    not go through a gateway, or is not about it.
    """

    rule: int
    clause: str
    sent: Steps
    answer: str
    forwarded: bytes | None = None
    # An upstream's answers, one for each of its requests; the last is said again and again.
    upstream: tuple[Steps, ...] = ()
    again: bool | None = None  # whether the upstream's connection was used for the next request
    dropped: bool = False  # whether the upstream's connection has to be given up amid its answer
    serve: Serve | None = None  # instead of a gateway: a server with this handler
    body: bytes | None = None  # of the last answer
    bodies: bytes | None = None  # of all answers, put together
    got: bytes | None = None  # what stands at the end of all that the client received
    has: bytes | None = None  # what must stand somewhere in it
    lacks: bytes | None = None  # what must stand nowhere in it
    full: bool = False  # whether `forwarded` shows the fields of the gateway, too
    clean: bool | None = None  # whether a process that goes away has to end by itself
    settings: ServerSettings = _SERVER
    gateway: GatewaySettings = _GATEWAY
    route: tuple[tuple[str, Any], ...] = ()  # further fields of the route
    proxied: bool = True  # whether both a gateway and a server alone have to answer so
    patience: float = 3.0  # seconds

    @property
    def name(self) -> str:
        return f"{self.rule}: {self.clause}"

    @property
    def slug(self) -> str:
        """The name as one word, for tests to be called by."""
        return re.sub(r"[^\w.*/-]+", "-", f"{self.rule} {self.clause}")

    @property
    def steps(self) -> tuple[bytes | Pause | Await | Act, ...]:
        return (self.sent,) if isinstance(self.sent, bytes) else self.sent

    @property
    def count(self) -> int:
        """How many final answers are expected."""
        statuses = self.answer.rpartition(",")[0].split()
        return sum(word.isdigit() and (word == "101" or int(word) >= 200) for word in statuses)

    @property
    def below(self) -> str:
        """The path that leads to the upstream."""
        path = str(dict(self.route).get("path", ""))
        return path.partition("/{")[0]

    @property
    def methods(self) -> list[str]:
        """The methods of what is sent, as far as the reading of its answers hangs on them."""
        wire = b"".join(step for step in self.steps if isinstance(step, bytes))
        return ["HEAD" if wire.startswith(b"HEAD") else "GET"]


def head(line: bytes, *fields: bytes, host: bytes = b"Host: a") -> bytes:
    """Write a head: its first line, Host unless it is empty, and the fields."""
    lines = [line, *([host] if host else []), *fields, b"", b""]
    return b"\r\n".join(lines)


def plain(target: bytes = b"/", *fields: bytes, method: bytes = b"GET") -> bytes:
    """What the upstream is sent for a plain request, the fields of the gateway left out."""
    line = method + b" " + target + b" HTTP/1.1"
    return b"\r\n".join([line, b"host: a", *fields, b"", b""])
