"""A gateway's door before services that are plain handlers: no sockets, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from random import Random
from typing import Any

import msgspec

from switchgear.gateway.door import Door, Local
from switchgear.gateway.onward import Trust
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Member, Upstream
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response, json_response
from switchgear.http.problem import Unseal, problem_within
from switchgear.http.stream import Body, Whole
from switchgear.identity.internal import Vouched
from switchgear.identity.tokens import Verified
from switchgear.policy.breaker import Transition
from switchgear.policy.call import Call, Principal
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.shedder import Shedder
from switchgear.testing.virtual import clock

__all__ = ["House", "answer", "ended", "failing", "hang", "public", "said", "verified"]

Serve = Callable[[Call[Request]], Awaitable[Response]]


async def answer(call: Call[Request]) -> Response:
    return json_response({"path": call.payload.path})


async def hang(call: Call[Request]) -> Response:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("it hangs for good")


def failing(fault: Fault, hop: str = "service") -> Serve:
    """A service that answers with a fault, as ours do between hops."""

    async def serve(call: Call[Request]) -> Response:
        return problem_within(fault, hop)

    return serve


def said(response: Response) -> Any:
    return msgspec.json.decode(response.body)


def public(method: str = "GET", path: str = "/a", **fields: Any) -> RouteEntry:
    return RouteEntry(method, path, "service", **{"public": True, **fields})


def verified(subject: str, *scopes: str, tenant: str = "") -> Verified:
    who = Principal(subject, tenant, frozenset(scopes))
    return Verified(who, 2e9, 0.0, "", "key", Vouched(who))


class _Pool:
    """What stands for the connections to one process."""

    def __init__(self, house: "House", name: str, address: str) -> None:
        self.house = house
        self.name = name
        self.address = address

    async def __call__(self, call: Call[Request], /) -> Response:
        self.house.sent.append((self.name, call))
        return await self.house.serving[self.name](call)

    async def close(self) -> None:
        self.house.closed.append(self.address)


class House:
    """One gateway and the processes behind it: `serving` says what each of them does."""

    def __init__(
        self,
        routes: Iterable[RouteEntry],
        serving: Mapping[str, Serve] | None = None,
        settings: GatewaySettings | None = None,
        *,
        local: Mapping[str, Local] | None = None,
        tokens: Mapping[str, Verified | Fault] | None = None,
        unseal: Unseal | None = None,
    ) -> None:
        self.serving: dict[str, Serve] = dict({"service-1": answer} if serving is None else serving)
        self.sent: list[tuple[str, Call[Request]]] = []
        self.closed: list[str] = []
        self.transitions: list[Transition] = []
        self.shedder = Shedder("shedder")
        self.tokens = dict(tokens or {})
        self.asked: list[str] = []
        self.settings = settings or GatewaySettings()
        self.upstream = Upstream(
            "service",
            self.settings,
            lambda name, address: _Pool(self, name, address),
            random=Random(7).random,
            transitions=self.transitions.append,
            unseal=unseal,
            clock=clock,
        )
        self.update()
        self.door = Door(
            routes,
            {"service": self.upstream},
            Trust(self._known, self._authenticate, _mint),
            self.settings,
            local=local or {},
            shedder=self.shedder,
            clock=clock,
        )

    def update(self, generation: int = 1, routable: Iterable[str] | None = None) -> None:
        """Tell the gateway which processes there are."""
        able = set(self.serving if routable is None else routable)
        self.upstream.update(
            Member(name, f"unix:/{name}.{generation}", generation, name in able)
            for name in self.serving
        )

    def call(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | Headers | None = None,
        body: Body | bytes = b"",
        *,
        peer: str = "192.0.2.1",
        scheme: str = "http",
        upgrade: str = "",
    ) -> Call[Request]:
        """Make the call of a request, as the server does when its head has come."""
        given = (
            headers if isinstance(headers, Headers) else Headers({"host": "a", **(headers or {})})
        )
        request = Request.of(method, target, headers=given, body=body)
        request = msgspec.structs.replace(request, peer=peer, scheme=scheme, upgrade=upgrade)
        return self.door.intake(request, clock())

    async def ask(self, method: str, target: str, *given: Any, **options: Any) -> Response:
        """Ask once."""
        return await self.door.handler(self.call(method, target, *given, **options))

    def names(self) -> list[str]:
        """Say to whom requests were sent, in order."""
        return [name for name, _ in self.sent]

    def out(self) -> int:
        """How many permits are out, of every gate there is."""
        told = self.upstream.statistics()
        bulkheads = [one["out"] for one in told["endpoints"].values()]
        breakers = [
            gate["out"]
            for route in told["routes"].values()
            for gate in (route["breaker"], *route["endpoints"].values())
        ]
        doors = [gate.statistics()["out"] for gate in self.door.gates]
        return int(sum([*bulkheads, *breakers, *map(float, doors)]))

    def _known(self, digest: bytes | None) -> Verified | None:
        return None

    async def _authenticate(self, token: str) -> Verified:
        self.asked.append(token)
        found = self.tokens.get(token)
        if isinstance(found, Verified):
            return found
        raise found or Fault(Code.UNAUTHENTICATED, f"{token!r} is no token", effect=Effect.NONE)


def _mint(vouched: Vouched, service: str, method: str, path: str, request_id: str) -> str:
    who = vouched.principal.subject if vouched.principal is not None else "nobody"
    return f"{service} {method} {path} {request_id} {who}"


def ended(response: Response) -> bool:
    """Say whether an answer's body is all there."""
    return isinstance(response.body, (bytes, Whole))
