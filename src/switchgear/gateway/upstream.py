"""Upstreams: the processes behind one service, followed through the topology."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, Protocol

from switchgear.core.clock import FINE, Clock
from switchgear.core.observe import Observer
from switchgear.gateway.lane import Lane, Shared
from switchgear.gateway.onward import client_of
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.http.handshake import check_chosen
from switchgear.http.message import Request, Response, Upgrade
from switchgear.http.problem import Unseal, believed, judging
from switchgear.policy.balance import PeakEwmaBalancer
from switchgear.policy.budget import RetryBudget
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.reserve import Reserve

__all__ = ["Connector", "Member", "Pool", "Upstream"]

# The share of the places at one process that no client alone can take, by sending or reading as
# slowly as he may on as many connections as he may have.
_RESERVE: Final = 0.25


class Pool(Protocol):
    """Connections to one process: a handler that can be closed."""

    async def __call__(self, call: Call[Request], /) -> Response: ...
    async def close(self) -> None: ...


Connector = Callable[[str, str], Pool]
"""Makes the pool for a process's name and address ("unix:/path" or "tcp:host:port")."""


class Member(NamedTuple):
    """One process as the topology tells it: whether anything new may be sent there."""

    name: str
    address: str
    generation: int
    routable: bool


class _Process:
    """One process: its pool and its bulkhead, shared by every route."""

    def __init__(self, member: Member, pool: Pool, permits: int, unseal: Unseal | None) -> None:
        self.name = member.name
        self._begun = (member.address, member.generation)
        self.pool = pool
        self._unseal = unseal
        self.routable = member.routable
        kept = int(_RESERVE * permits)
        self.bulkhead = Bulkhead(
            member.name,
            BulkheadSettings(permits=permits, queue=permits),
            reserve=Reserve(kept, client_of) if kept else None,
        )

    def is_still(self, member: Member) -> bool:
        """Say whether `member` is this very process, not one that was started in its place."""
        return self._begun == (member.address, member.generation)

    async def send(self, call: Call[Request], /) -> Response:
        """Send one attempt.

        A change of protocol comes wrapped, as an answer that has ended: the handshake was the call,
        and the session after it must not hold a permit of those for calls.
        """
        answer = await self.pool(call)
        if isinstance(answer, Upgrade):
            try:
                check_chosen(call.payload.headers, answer.headers)
            except Fault as fault:
                answer.abandon()
                fault.code, fault.origin = Code.UNAVAILABLE, self.name
                raise
            return Response(101, answer.headers, answer)
        return self.received(answer)

    def received(self, answer: Response, /) -> Response:
        """Believe of an answer, which changes no protocol, what is to be believed."""
        if answer.status >= 400 and self._unseal is not None:
            return believed(answer, self._unseal)
        return answer


class Upstream:
    """All processes of one service. `update` follows the topology, `lane` serves a route.

    `unseal` opens the faults that the processes have sealed, and no others are believed. Without it
    they are believed by the connection: that is for peers whom nobody else can stand in for.
    """

    def __init__(
        self,
        service: str,
        settings: GatewaySettings,
        connect: Connector,
        *,
        random: Callable[[], float],
        transitions: Observer | None = None,
        unseal: Unseal | None = None,
        clock: Clock = FINE,
    ) -> None:
        self.service = service
        self._settings = settings
        self._connect = connect
        self._unseal = unseal
        self._shared = Shared(
            service,
            settings,
            PeakEwmaBalancer(random=random),
            RetryBudget(),
            judging(trusted=True),
            random,
            transitions,
            clock,
        )
        self._processes: dict[str, _Process] = {}
        self._lanes: dict[str, Lane] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def update(self, members: Iterable[Member]) -> None:
        """Take the present members. A process that was started anew is another process."""
        present = {member.name: member for member in members}
        for name, process in list(self._processes.items()):
            member = present.get(name)
            if member is not None and process.is_still(member):
                process.routable = member.routable
            else:
                del self._processes[name]
                self._retire(process.pool)
        for name, member in present.items():
            if name not in self._processes:
                pool = self._connect(name, member.address)
                permits = self._settings.endpoint_permits
                self._processes[name] = _Process(member, pool, permits, self._unseal)
        for lane in self._lanes.values():
            lane.follow(self._processes)

    def lane(self, route: RouteEntry, *, unbroken: bool = False, part: str = "") -> Lane:
        """Open the way of one route to this service, once for each route, and each part of one.

        `unbroken` is the gateway's own, beside that of its clients: see `Lane`.
        """
        name = f"{route.name} (asked)" if unbroken else route.name
        if part:
            name = f"{name} ({part})"
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(self._shared, route, unbroken=unbroken, part=part)
            lane.follow(self._processes)
        return lane

    @property
    def serving(self) -> bool:
        """Whether any process takes new calls."""
        return any(process.routable for process in self._processes.values())

    def statistics(self) -> dict[str, Any]:
        """Return what is known of every process, and of every route to them."""
        return {
            "endpoints": {
                name: {"routable": process.routable, **process.bulkhead.statistics()}
                for name, process in self._processes.items()
            },
            "routes": {name: lane.statistics() for name, lane in self._lanes.items()},
            "retry_budget": self._shared.budget.statistics(),
        }

    async def close(self) -> None:
        """Close every pool."""
        for process in self._processes.values():
            self._retire(process.pool)
        self._processes.clear()
        while self._closing:
            await asyncio.wait(set(self._closing))

    def _retire(self, pool: Pool) -> None:
        task = asyncio.get_running_loop().create_task(pool.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
