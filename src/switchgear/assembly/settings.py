"""The settings tree: one frozen value that says everything about a running system.

Each part is owned by the room that uses it and only gathered here. The defaults are a complete
system with an embedded database and every protection on.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec

from switchgear.accounts.settings import AccountsSettings
from switchgear.assembly.secret import Secret, SecretUrl
from switchgear.engines.postgres.snapshot_settings import SnapshotSettings
from switchgear.gateway.settings import GatewaySettings
from switchgear.http.settings import ClientSettings, ServerSettings
from switchgear.services.settings import IdempotencySettings, LoopSettings
from switchgear.telemetry.settings import LogSettings

__all__ = ["Address", "Database", "Listen", "Processes", "Settings", "Supervision", "Trust"]

_KEY_CHARS: Final = 32
_PEER: Final = re.compile(r"unix:/.+|tcp:(?:\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+):([1-9]\d{0,4})")

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=0, le=256)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Processes(msgspec.Struct, frozen=True):
    """How many processes of each role."""

    gateways: Annotated[int, msgspec.Meta(ge=1, le=256)] = 2
    services: Count = 2
    workers: Count = 1


class Listen(msgspec.Struct, frozen=True):
    """Where clients reach us. Port 0 lets the system choose one."""

    host: str = "127.0.0.1"
    port: Port = 8080
    backlog: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 4096


class Address(msgspec.Struct, frozen=True):
    """Where operators reach us."""

    host: str = "127.0.0.1"
    port: Port = 9080


class Database(msgspec.Struct, frozen=True):
    """Which PostgreSQL: that of `url`, else one embedded in the data folder.

    `account` is the system account to which root drops: the embedded server refuses to run as root.
    """

    url: SecretUrl | None = None
    account: str = ""
    snapshots: SnapshotSettings = SnapshotSettings()


class Trust(msgspec.Struct, frozen=True):
    """What processes that no common supervisor started share: the key of internal tokens.

    The passwords of the database's roles come of it, too, so it is no word: `openssl rand -hex 32`.
    `admin_token` is what opens the admin port, where it is not to be the file in the data folder.
    """

    internal_key: Secret | None = None
    admin_token: Secret | None = None

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the secrets themselves; one that is missing tells of itself."""
        for name, secret, who in (
            ("internal_key", self.internal_key, "every user"),
            ("admin_token", self.admin_token, "an operator"),
        ):
            try:
                text = "" if secret is None else secret.reveal()
            except ValueError:
                continue
            if text and len(text) < _KEY_CHARS:
                yield (
                    f"{name} has {len(text)} characters, where {_KEY_CHARS} random ones would be "
                    f"right: whoever guesses it is {who}"
                )
            elif name == "admin_token" and not text.isascii():
                yield f"{name} has characters that no header can bear: ASCII would be right"


class Supervision(msgspec.Struct, frozen=True):
    """When a process counts as late, as hung, as stable; how fast it is started again.

    Durations are seconds. A process beats every `beat`; without one for `unroutable` nothing is
    sent to it, for `hung` its stacks are written down (within `dump`) and it is killed. Until it
    is ready, `start` stands in for `hung`. Restarts wait `restart_first`, growing to
    `restart_most`, less what it was ready for, and from the start again once that was `stable`.
    `drain` bounds an orderly end, `drain_least` is what each later stage has of it at the least.
    For the first `lame_duck` of it whoever takes connections of others goes on, and is unready: a
    balancer that has not looked away yet would send its next ones to a closed port.
    """

    beat: Seconds = 1.0
    unroutable: Seconds = 3.0
    hung: Seconds = 30.0
    start: Seconds = 60.0
    dump: Seconds = 1.0
    restart_first: Seconds = 0.1
    restart_most: Seconds = 10.0
    stable: Seconds = 30.0
    drain: Seconds = 20.0
    drain_least: Seconds = 2.0
    lame_duck: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    def problems(self) -> Iterator[str]:
        """Yield what contradicts itself."""
        if self.unroutable < 2 * self.beat:
            yield (
                f"unroutable ({self.unroutable:g} s) must be at least two beats of {self.beat:g} "
                "s, or one lost beat takes a healthy process out"
            )
        if self.hung <= self.unroutable:
            yield (
                f"hung ({self.hung:g} s) must be longer than unroutable ({self.unroutable:g} s), "
                "or a process is killed before anything is sent elsewhere"
            )
        if self.restart_most < self.restart_first:
            yield (
                f"restart_most ({self.restart_most:g} s) must not be below restart_first "
                f"({self.restart_first:g} s)"
            )
        if self.lame_duck and self.lame_duck + self.drain_least > self.drain:
            yield (
                f"lame_duck ({self.lame_duck:g} s) must leave drain_least ({self.drain_least:g} s) "
                f"of the drain ({self.drain:g} s), or what came in last is cut"
            )


def _meet(one: str, other: str) -> bool:
    """Whether a port at the one host is a port at the other, too: one may stand for all."""
    hosts = {host.strip("[]").lower().replace("localhost", "127.0.0.1") for host in (one, other)}
    if len(hosts) == 1:
        return True
    six = {":" in host for host in hosts}
    return len(six) == 1 and not hosts.isdisjoint({"0.0.0.0", "::"})  # noqa: S104 - compared


class Settings(msgspec.Struct, frozen=True):
    """The whole tree.

    `data` is the folder that holds everything that outlives the system. `peers` names, by
    role, the addresses of processes that no supervisor of ours starts (a cluster):
    "tcp:10.0.0.7:8081" or "unix:/path".
    """

    data: str = ".switchgear"
    processes: Processes = Processes()
    listen: Listen = Listen()
    admin: Address = Address()
    database: Database = Database()
    trust: Trust = Trust()
    supervisor: Supervision = Supervision()
    http: ServerSettings = ServerSettings()
    client: ClientSettings = ClientSettings()
    gateway: GatewaySettings = GatewaySettings()
    accounts: AccountsSettings = AccountsSettings()
    idempotency: IdempotencySettings = IdempotencySettings()
    loop: LoopSettings = LoopSettings()
    log: LogSettings = LogSettings()
    peers: dict[str, list[str]] = {}

    def problems(self) -> Iterator[str]:
        """Yield what contradicts itself between the parts."""
        same = self.listen.port == self.admin.port and self.listen.port != 0
        if same and _meet(self.listen.host, self.admin.host):
            yield f"listen and admin both want port {self.listen.port}; give one of them another"
        if not self.data:
            yield "data must name a folder"
        for role, addresses in self.peers.items():
            for address in addresses:
                found = _PEER.fullmatch(address)
                if found is None or int(found[1] or 1) > 65535:
                    yield (
                        f"peers.{role}: {address!r} is no address of a process; tcp:10.0.0.7:8081"
                        " or unix:/path would be right"
                    )
