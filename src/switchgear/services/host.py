"""The host: endpoints and mounted applications as one handler of HTTP requests."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from math import inf
from typing import Any, Final, Protocol
from urllib.parse import unquote

from msgspec.structs import replace

from switchgear.binding.encode import Encode, encoder
from switchgear.binding.given import BODILESS, HTTP, Provider
from switchgear.binding.plan import Plan, bind
from switchgear.binding.schema import Operation
from switchgear.core.ambient import ambient
from switchgear.core.clock import FINE, Clock
from switchgear.core.frames import Timeout
from switchgear.core.handler import Handler
from switchgear.core.stack import INBOUND, Part, Place, stack
from switchgear.http.message import JSON, Request, Response
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.route import Found, NoMethod, Route, Router
from switchgear.ports.tables import Tables, Transaction
from switchgear.services.endpoint import Endpoint, Mount
from switchgear.services.given import HttpGiven

__all__ = ["Host"]

Web = Handler[Request, Response]
Answer = Callable[[Call[Request], Mapping[str, str]], Awaitable[Response]]

_NO_BODY: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


class Mounted(Protocol):
    """Makes a handler of an ASGI application under a path prefix."""

    def __call__(self, application: Callable[..., Any], prefix: str) -> Web: ...


class Host:
    """Route a request to its endpoint, bind it, run it in its transaction, and answer.

    `providers` make injected values by type; a `Transaction` is this host's own affair: it is
    opened before the call and committed before the response is made. `body_bytes` bounds what is
    read. Raises Unbindable at construction for a function that cannot be bound.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        mounts: Iterable[Mount],
        *,
        tables: Tables | None,
        providers: Mapping[Any, Provider],
        mounted: Mounted | None = None,
        body_bytes: int = 1 << 20,
        clock: Clock = FINE,
    ) -> None:
        self._tables = tables
        self._clock = clock
        self._body_bytes = body_bytes
        self._providers = {**providers, Transaction: lambda given: given.transaction}
        self.operations: list[Operation] = []
        routes = [Route(one.method, one.path, self._bound(one)) for one in endpoints]
        routes += [
            Route("*", f"{one.path.rstrip('/')}/{{rest...}}", self._wrapped(one, mounted))
            for one in mounts
        ]
        self._router: Router[Answer] = Router(routes)

    async def __call__(self, call: Call[Request]) -> Response:
        """Answer one request. Raises the fault that the endpoint, or the lack of one, makes."""
        request = call.payload
        found = self._router.match(request.method, request.path)
        if not isinstance(found, Found):
            raise missing(request.method, request.path, found)
        path = {name: unquote(value) for name, value in found.params.items()}
        answer: Response = await found.route.value(call, path)
        return answer

    def _bound(self, endpoint: Endpoint) -> Answer:
        """Compile one endpoint: its plan, its deadline, its transaction."""
        plan = bind(
            endpoint.function,
            path=names_of(endpoint.path),
            injectors=self._providers,
            offer=BODILESS if endpoint.method in _NO_BODY else HTTP,
        )
        status = endpoint.status or (201 if endpoint.method == "POST" else 200)
        scopes = (endpoint.scope,) if endpoint.scope else ()
        self.operations.append(
            Operation(
                endpoint.method,
                endpoint.path,
                plan,
                status,
                scopes=scopes,
                secured=not endpoint.public,
            )
        )
        encode = encoder(plan.result, plan.where)
        work = _committed(plan, encode, status, self._tables)
        limit, clock = self._body_bytes, self._clock
        run = _within(endpoint.name, endpoint.deadline, work, clock)

        async def answer(call: Call[Request], path: Mapping[str, str]) -> Response:
            body = b"" if plan.body is None else await _json(call.payload, limit)
            given = HttpGiven(call, path, body)
            deadline = min(call.deadline, clock() + endpoint.deadline)
            result: Response = await run(replace(call, payload=given, deadline=deadline))
            return result

        return answer

    def _wrapped(self, mount: Mount, mounted: Mounted | None) -> Answer:
        if mounted is None:
            raise ValueError(f"mount {mount.path}: nothing here hosts ASGI applications")
        handler, clock = mounted(mount.application, mount.path.rstrip("/")), self._clock
        run = _within(mount.name, mount.deadline, handler, clock)

        async def answer(call: Call[Request], _: Mapping[str, str]) -> Response:
            deadline = min(call.deadline, clock() + mount.deadline)
            result: Response = await run(replace(call, deadline=deadline))
            return result

        return answer


async def _json(request: Request, limit: int) -> bytes:
    """Read a body that must be JSON. A form that a page of somebody else's sent is none."""
    told = request.headers.get("content-type")
    if told is not None:
        kind = told.partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise Fault(
                Code.INVALID_ARGUMENT,
                f"the content type is {kind[:60]!r}",
                effect=Effect.NONE,
                public="Send JSON, with content-type: application/json.",
                extra={"status": 415},
            )
    return await request.body.read(limit)


def names_of(path: str) -> list[str]:
    """Return the names of a route's `{name}` segments."""
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def missing(method: str, path: str, found: object) -> Fault:
    """Make the fault for a request that no route takes: an unknown path, or a wrong method."""
    if isinstance(found, NoMethod):
        allow = found.allow
        return Fault(
            Code.UNIMPLEMENTED,
            f"{path} takes {', '.join(allow)}, not {method}",
            effect=Effect.NONE,
            public=f"This takes {', '.join(allow)}, not {method}.",
            extra={"status": 405, "allow": list(allow)},
        )
    return Fault(Code.NOT_FOUND, f"no route takes {method} {path}", effect=Effect.NONE)


def _within(name: str, deadline: float, handler: Handler[Any, Any], clock: Clock) -> Web:
    """Put a handler under its route's deadline."""
    bound = Timeout(full=deadline, limit=inf, share=1.0)
    return stack(name, INBOUND, [Part(Place.DEADLINE, bound)], handler, clock=clock).run


def _committed(
    plan: Plan, encode: Encode, status: int, tables: Tables | None
) -> Callable[[Call[HttpGiven]], Coroutine[Any, Any, Response]]:
    """Call the plan; with a Transaction, inside one that commits before there is a response."""

    def response(result: object) -> Response:
        body = encode(result)
        return Response(204) if body is None else Response(status, JSON, body)

    async def bare(call: Call[HttpGiven]) -> Response:
        ambient.set(call)
        return response(await plan.call(call.payload))

    async def inside(call: Call[HttpGiven]) -> Response:
        ambient.set(call)
        given = call.payload
        if tables is None:
            raise Fault(Code.UNAVAILABLE, f"{plan.name} needs a database and none is configured")
        async with tables.transaction(deadline=call.deadline) as tx:
            given.transaction = tx
            # Written before the commit: what cannot be written must not leave its effect.
            return response(await plan.call(given))

    return inside if Transaction in plan.injected else bare
