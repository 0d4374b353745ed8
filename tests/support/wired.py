"""A whole gateway without a network: real connections, a real door, real pools, wires between.

All of it runs in virtual time, so that the same history can be told twice, and everything that is
written, counted and logged be compared to the last digit.
"""

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any

from switchgear.core.sweep import sweep_of
from switchgear.gateway.door import Door
from switchgear.gateway.onward import Trust
from switchgear.gateway.passage import passage_of
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Member, Upstream
from switchgear.http.client import Upstream as Client
from switchgear.http.connection import Connection
from switchgear.http.exchanged import Exchanged
from switchgear.http.pool import Pool, deadline_line
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ClientSettings, ServerSettings
from switchgear.http.spoken import Speaker
from switchgear.identity.internal import InternalTokens, Vouched
from switchgear.identity.jwks import KeySet, KeySetSettings
from switchgear.identity.keys import SigningKey, jwks
from switchgear.identity.seals import Seals
from switchgear.identity.shared import SharedKeys
from switchgear.identity.tokens import Minter, TokenSettings, Verified, Verifier
from switchgear.policy.breaker import Transition
from switchgear.policy.call import Principal
from switchgear.policy.shedder import Shedder
from switchgear.testing.virtual import clock
from tests.support.transport import Transport

__all__ = ["SEALS", "WALL", "House", "Seen", "Wire", "token"]

WALL = 1_800_000_000.0
KEY = SigningKey.generate()
SHARED = SharedKeys({"k": b"k" * 32}, "k")
SEALS = Seals(SHARED, "fault")
TOKENS = TokenSettings("i", "a", lifetime=3600)
CLIENT = ClientSettings(body_timeout=1.07, connect_timeout=0.53)
ROUTES = (
    RouteEntry("GET", "/open", "service", public=True),
    RouteEntry("POST", "/open", "service", public=True),
    RouteEntry("PUT", "/open", "service", public=True, deadline=2.0, attempt_timeout=0.43),
    RouteEntry("GET", "/users/{id}", "service", scope="read"),
    RouteEntry("POST", "/users", "service", scope="write", priority=2, keyed=True),
    RouteEntry("POST", "/sign-in", "service", public=True, sign_in=True),
    RouteEntry("*", "/shop", "service", public=True, prefix=True),
)


def token(subject: str, *scopes: str) -> str:
    """Mint an access token as accounts do."""
    return Minter(KEY, TOKENS).mint(Principal(subject, "", frozenset(scopes)), WALL)


class Wire(Transport):
    """One end of a connection: what is written goes to `taker`, in the loop's next turn."""

    def __init__(self, protocol: Speaker, taker: Callable[["Wire", bytes], None]) -> None:
        super().__init__(protocol)
        self.taker = taker
        self.gone = False  # its protocol was told
        self.raw: socket.socket | None = None  # with the other end's end in it, not seen yet

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.raw is not None:
            asyncio.get_running_loop().call_soon(self.leave, ConnectionResetError("reset"))
        elif not self.closed:
            asyncio.get_running_loop().call_soon(self.taker, self, bytes(data))

    def end(self) -> None:
        """Have the other end close the connection, unseen by the loop for now."""
        if not self.closed:
            self.raw, other = socket.socketpair()
            other.close()

    def bring(self, data: bytes) -> None:
        """Have bytes of the other end arrive."""
        if not self.closed:
            self.protocol.data_received(data)

    def close(self) -> None:
        self.closed = True
        asyncio.get_running_loop().call_soon(self.leave)

    abort = write_eof = close

    def leave(self, error: Exception | None = None) -> None:
        """Have the other end close, or reset, the connection."""
        self.closed = True
        if self.raw is not None:
            self.raw.close()
        if not self.gone:
            self.gone = True
            self.protocol.connection_lost(error)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self.raw
        return super().get_extra_info(name, default)


class Seen:
    """What an upstream takes for one request, as soon as all of it has come."""

    def __init__(self, process: str, head: bytes, body: bytes) -> None:
        line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        self.process = process
        self.line = line
        self.fields = [(name, value) for name, _, value in (one.partition(": ") for one in lines)]
        self.body = body
        self.number = line.partition("n=")[2].partition(" ")[0]

    def told(self) -> Any:
        """Return what is compared of it: the internal token by what it says."""
        said = []
        for name, value in self.fields:
            if name == "switchgear-token":
                method, target, _ = self.line.split(" ")
                request_id = dict(self.fields)["x-request-id"]
                path = target.partition("?")[0]
                made = InternalTokens(SHARED)
                who = made.verify(value, "service", method, path, request_id, WALL + clock())
                value = repr(who)
            said.append((name, value))
        return clock(), self.process, self.line, said, self.body


_CHUNK = re.compile(rb"(?:[0-9a-f]+\r\n.*?\r\n)*?0\r\n\r\n", re.DOTALL)


class _Dials:
    """Dials for the pool of one process: its connections are wires to what the history says."""

    def __init__(self, house: "House") -> None:
        self.house = house

    async def __call__(self, pool: Pool) -> Client:
        await asyncio.sleep(0.0017)
        if pool.name in self.house.down:
            raise ConnectionRefusedError("nobody listens")
        client, buffer = Client(pool), b""

        def take(wire: Wire, data: bytes) -> None:
            nonlocal buffer
            buffer += data
            end = buffer.find(b"\r\n\r\n") + 4
            head, body = buffer[:end], buffer[end:]
            length = re.search(rb"content-length: (\d+)", head)
            if b"transfer-encoding: chunked" in head:
                found = _CHUNK.match(body)
                size = -1 if found is None else found.end()
            else:
                size = 0 if length is None else int(length[1])
            if end > 3 and 0 <= size <= len(body):
                assert size == len(body), "no request follows before the answer"
                buffer = b""
                self.house.serve(wire, Seen(pool.name, head, body))

        client.connection_made(Wire(client, take))
        return client


class House:
    """One gateway and its processes, served by the `express` way or by the general one alone."""

    def __init__(
        self, *, express: bool, settings: GatewaySettings, serve: Callable[[Wire, Seen], None]
    ) -> None:
        self.settings = settings
        self._serve = serve
        self.down: set[str] = set()
        self.signs = True  # whether internal tokens can be minted
        self.seen: list[Any] = []  # by the upstreams
        self.events: list[Any] = []
        self.transitions: list[Transition] = []
        self.pools: list[Pool] = []
        self.loop = asyncio.get_running_loop()
        self.upstream = Upstream(
            "service", settings, self._connect, random=lambda: 0.5, clock=clock,
            transitions=self.transitions.append, unseal=lambda text: SEALS.unseal(text, WALL),
        )  # fmt: skip
        self.update()
        self.keys = KeySet(self._published, KeySetSettings(), clock)
        self.verifier = Verifier(self.keys, TOKENS)
        self.shedder = Shedder("shedder", settings.shed)
        self.trust = Trust(self._recall, self._authenticate, self._mint)
        self.door = Door(
            ROUTES, {"service": self.upstream}, self.trust, settings,
            local={"/health": lambda: (200, {"status": "live"})}, shedder=self.shedder, clock=clock,
        )  # fmt: skip
        self.server = Server(
            self.door.handler, ServerSettings(), drive=Drive.EAGER, intake=self.door.intake,
            run=self.door.run if express else None, problem=self.door.problem, clock=clock,
            observer=self._observe, wall=lambda: WALL,
            on_defect=lambda error, _: self.events.append(repr(error)),
        )  # fmt: skip
        self.server.loop = self.loop
        self.server.sweep = sweep_of(self.loop, clock)
        # Alarms of one tick ring in no certain order, by their addresses: so none is to share one.
        self.server.sweep._tick = 1e-6

    def update(self, generation: int = 1, *, names: str = "12", routable: str = "12") -> None:
        """Tell of the processes that there are, and which of them take anything new."""
        self.upstream.update(
            Member(f"service-{one}", f"unix:/{one}", generation, one in routable) for one in names
        )

    def client(self, taker: Callable[[Wire, bytes], None]) -> Wire:
        """Open a client's connection."""
        connection = Connection(self.server)
        wire = Wire(connection, taker)
        connection.connection_made(wire)
        return wire

    def serve(self, wire: Wire, seen: Seen) -> None:
        """Have an upstream do what the history says."""
        self.seen.append(seen.told())
        self._serve(wire, seen)

    def figures(self) -> list[Any]:
        """Return the figures that stand alike at any instant."""
        lanes = self.upstream._lanes.values()
        return [
            self.upstream.statistics(),
            [pool.statistics() for pool in self.pools],
            self.verifier.statistics(),
            [
                (way.name, way.in_flight, way.ewma.at(clock()), way.frame.tally.statistics())
                for lane in lanes
                for way in lane._ways
            ],
            [lane.frame.tally.statistics() for lane in lanes],
        ]

    def at_rest(self) -> list[Any]:
        """Return the figures of what stands before the lanes: alike once nothing is under way."""
        gates = [gate.statistics() for gate in self.door.gates]
        counters = {name: getattr(self.server.counters, name) for name in ("requests", "sent")}
        return [gates, counters, self.transitions]

    async def close(self) -> None:
        """Close everything, and see that nothing is left."""
        for connection in tuple(self.server.connections):
            connection.transport.abort()
        await asyncio.sleep(0.3)
        for lane in self.upstream._lanes.values():
            for gate in (lane.over, *(way.breaker for way in lane._ways)):
                assert gate.statistics()["out"] == 0, gate.name
            for way in lane._ways:
                room = way.process.bulkhead
                assert (way.in_flight, room.out, room.overrun) == (0, 0, 0)
                assert room.free == self.settings.endpoint_permits
        assert all(gate.statistics()["out"] == 0 for gate in self.door.gates)
        await self.upstream.close()
        await self.keys.close()
        await asyncio.sleep(0.3)
        for pool in self.pools:
            told = pool.statistics()
            assert (told["open"], told["idle"], told["dialling"]) == (0, 0, 0), told
        assert sweep_of(self.loop, clock).armed == 0

    def _connect(self, name: str, address: str) -> Pool:
        pool = Pool(
            "service", 80, CLIENT, name=name, stamp=deadline_line, clock=clock, dialler=_Dials(self)
        )
        self.pools.append(pool)
        return pool

    @property
    def swift(self) -> int:
        """How many requests went by the express way."""
        return self.shedder.waved

    def _observe(self, event: Any) -> None:
        if not isinstance(event, Exchanged):
            self.events.append(event)
            return
        passage = passage_of(event.call)
        self.events.append(
            (
                clock(), passage.route, event.status, event.sent, event.elapsed, event.fault,
                event.detail, event.reason, event.left, event.cut, event.call.payload.target,
                passage.vouched, passage.attempts, passage.endpoints, passage.upstream,
                passage.fault, passage.detail, passage.request_id,
            )
        )  # fmt: skip

    async def _published(self) -> bytes:
        await asyncio.sleep(0.0013)
        return jwks([KEY])

    def _recall(self, digest: bytes | None) -> Verified | None:
        return self.verifier.recall(digest, WALL + clock())

    async def _authenticate(self, bearer: str) -> Verified:
        return await self.verifier.inspect(bearer, WALL + clock())

    def _mint(self, vouched: Vouched, service: str, method: str, path: str, request_id: str) -> str:
        if not self.signs:
            raise ZeroDivisionError("a defect of what signs")
        made = InternalTokens(SHARED)
        return made.mint(vouched, service, method, path, request_id, WALL + clock())
