"""Limits of connections: how many there are, of whom, and who gives way when room runs short.

```
  accept -> Census.refuses? -> 503 and close
               | no
             take -> crowded? -> the connections that have been idle longest are closed
```

A connection counts from accept to close, a TLS handshake included, so that handshakes that
never end fill no process either.
"""

import socket
from collections.abc import Callable, Iterable
from functools import lru_cache
from heapq import nsmallest
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from switchgear.http.refusals import OTHER, REASONS
from switchgear.http.settings import ServerSettings
from switchgear.http.watch import readable

if TYPE_CHECKING:
    from switchgear.http.connection import Connection

__all__ = ["UNIX", "Census", "Counters", "Crowd", "longest_idle", "network_of", "peer_of"]

UNIX: Final = "unix"
"""The address of every client of a unix socket."""

_NETWORK_BYTES: Final = 8  # of an IPv6 address: one customer's, within which addresses are free
_HOST: Final = bytes(16 - _NETWORK_BYTES)
# What carries an IPv4 address in its last four bytes: where IPv4 is spoken by an IPv6 socket (RFC
# 4291 section 2.5.5.2), and where a translator stands before us (RFC 6052 section 2.1).
_CARRYING: Final = (b"\x00" * 10 + b"\xff\xff", bytes.fromhex("0064ff9b0000000000000000"))
# Translators of a network's own (RFC 8215). How they write IPv4 is for them to say, but nobody
# behind one chooses his address: each stands for one client.
_TRANSLATED: Final = bytes.fromhex("0064ff9b0001")
_SHARE: Final = 32  # one part in so many gives way at once, so that a look pays for many accepts
_YOUNG: Final = 0.1  # seconds: who has been idle for less is not idle
_AGAIN: Final = 0.1  # seconds until the next look where the last one found nobody
_SOON: Final = 0.01  # where it found somebody: they take a turn of the loop to leave


class Counters:
    """What a server has counted: plain integers, read by whoever wants to.

    `refusals` counts by reason, all of them known from the start.
    """

    __slots__ = ("accepted", "defects", "made_room", "refusals", "requests", "sent", "spliced")

    def __init__(self) -> None:
        self.accepted = 0  # connections
        self.requests = 0
        self.refusals = dict.fromkeys((*sorted(REASONS), OTHER), 0)
        self.made_room = 0  # idle connections closed because the cap was near
        self.defects = 0
        self.sent = 0  # bytes
        self.spliced = 0  # answers whose rest went from socket to socket within the kernel

    def refuse(self, reason: str) -> None:
        """Count a refusal; one of an unknown reason among the others."""
        self.refusals[reason if reason in self.refusals else OTHER] += 1

    @property
    def turned_away(self) -> int:
        """Connections over a cap."""
        return self.refusals["address-full"] + self.refusals["server-full"]

    @property
    def timeouts(self) -> int:
        """Connections closed for slowness."""
        slow = ("head-timeout", "body-timeout", "write-timeout")
        return sum(self.refusals[reason] for reason in slow)


class Crowd:
    """How many there are of something, in all and of each address."""

    __slots__ = ("_by_address", "total")

    def __init__(self) -> None:
        self.total = 0
        self._by_address: dict[str, int] = {}

    def take(self, peer: str) -> None:
        """Count one in."""
        address = network_of(peer)
        self.total += 1
        self._by_address[address] = self._by_address.get(address, 0) + 1

    def give(self, peer: str) -> None:
        """Count one out."""
        address = network_of(peer)
        self.total -= 1
        held = self._by_address[address]
        if held > 1:
            self._by_address[address] = held - 1
        else:
            del self._by_address[address]

    def of(self, peer: str) -> int:
        """Return how many an address has."""
        return self._by_address.get(network_of(peer), 0)


class Census(Crowd):
    """How many connections there are, in all and of each address, and how many `sessions`.

    `several` says of an address that it stands for many clients, as a load balancer does: only
    the cap of all holds for it.
    """

    __slots__ = ("_look_at", "_near", "_settings", "_several", "sessions")

    def __init__(self, settings: ServerSettings, several: Callable[[str], bool] | None) -> None:
        super().__init__()
        self._settings = settings
        self._several = several
        self.sessions = Crowd()  # upgraded connections, by who asked for them
        self._near = ceil(settings.connections * settings.idle_reuse)
        self._look_at = -inf

    def refuses(self, peer: str) -> str:
        """Return the reason why no further connection of `peer` gets in, or nothing."""
        settings = self._settings
        if self.total >= settings.connections:
            return "server-full"
        if self.of(peer) < settings.connections_per_address or self._stands_for_many(peer):
            return ""
        return "address-full"

    def refuses_session(self, client: str) -> str:
        """Return why no further session of a client is opened, in words, or nothing.

        The client may be another than the peer, of whom a trusted proxy or a gateway tells.
        """
        settings, sessions = self._settings, self.sessions
        if sessions.total >= settings.sessions:
            return f"{sessions.total} sessions are open"
        held = sessions.of(client)
        if held < settings.sessions_per_address or self._stands_for_many(client):
            return ""
        return f"{held} sessions of {network_of(client)} are open"

    def _stands_for_many(self, peer: str) -> bool:
        """Say whether a peer is no single client. A unix socket has no addresses to tell apart."""
        return peer == UNIX or (self._several is not None and self._several(peer))

    @property
    def crowded(self) -> bool:
        """Whether the cap is near."""
        return self.total >= self._near

    def make_room(self, connections: Iterable["Connection"], now: float) -> int:
        """Close the connections that have been idle longest; return how many."""
        if now < self._look_at:
            return 0
        closed = 0
        for connection in longest_idle(connections, now, 1 + self._settings.connections // _SHARE):
            closed += _gives_way(connection)
        self._look_at = now + (_SOON if closed else _AGAIN)
        return closed


def _gives_way(connection: "Connection") -> bool:
    """Close for the sake of others, unless a request has just come in or an answer is unread."""
    transport = connection.transport
    if connection.blocked or transport.get_write_buffer_size() or readable(transport):
        return False
    connection.close(linger=False)
    return True


def longest_idle(connections: Iterable["Connection"], now: float, most: int) -> "list[Connection]":
    """Return up to `most` connections, those that have been idle longest first."""
    before = now - _YOUNG
    idle = ((one.idle_since, one) for one in connections)
    found = nsmallest(most, (pair for pair in idle if pair[0] <= before), key=lambda pair: pair[0])
    return [one for _, one in found]


def peer_of(address: object) -> str:
    """Return the name of a peer by the address that its socket tells."""
    return str(address[0]) if isinstance(address, tuple) else UNIX


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return what a client is counted by, in caps and in limits.

    An IPv4 address itself, also where IPv6 carries it; of an IPv6 address its network of 64 bits,
    but where all of IPv4 is in one such network.
    """
    if ":" not in address:
        return address
    try:
        raw = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):  # no address; a text that cannot be one
        return address
    if raw.startswith(_CARRYING):
        return socket.inet_ntop(socket.AF_INET, raw[-4:])
    if raw.startswith(_TRANSLATED):
        return socket.inet_ntop(socket.AF_INET6, raw)
    network = socket.inet_ntop(socket.AF_INET6, raw[:_NETWORK_BYTES] + _HOST)
    return f"{network}/{8 * _NETWORK_BYTES}"
