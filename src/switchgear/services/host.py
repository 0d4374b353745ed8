"""The host: endpoints and mounted applications as one handler of HTTP requests."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from math import inf
from typing import Any, Final, Protocol
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace

from switchgear.binding.given import BODILESS, HTTP, Provider
from switchgear.binding.parameters import Unbindable
from switchgear.binding.plan import Plan, bind
from switchgear.binding.schema import Operation, openapi
from switchgear.core.ambient import ambient
from switchgear.core.clock import FINE, Clock
from switchgear.core.confining import confine
from switchgear.core.delivery import Delivery, dispatch
from switchgear.core.drivers import working
from switchgear.core.frames import Timeout
from switchgear.core.handler import Handler
from switchgear.core.stack import INBOUND, Part, Place, Stack, stack
from switchgear.http.message import JSON, Request, Response
from switchgear.policy.call import Call, Principal
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.route import Found, NoMethod, NoRoute, Route, Router
from switchgear.policy.verdict import GOOD
from switchgear.ports.tables import Snapshot, Tables, Transaction
from switchgear.services.answers import Answering, answering, plain
from switchgear.services.calling import Answers, Calling
from switchgear.services.endpoint import Endpoint, Mount
from switchgear.services.given import HttpGiven
from switchgear.services.honours import asks, honours
from switchgear.services.keyed import Keeping, keyed
from switchgear.services.transacting import Work, reading, transacting, unopened, unread
from switchgear.services.turns import Turns

__all__ = ["Fair", "Host", "Mounted"]

Web = Handler[Request, Response]

Fair = Callable[[Endpoint | Mount, bool], float]
"""The seconds that a gateway gives one attempt at an endpoint or mount, repeatable or not."""

_NO_BODY: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_DESCRIPTION: Final = "/openapi.json"


class Mounted(Protocol):
    """Makes a handler of an ASGI application under a path prefix."""

    def __call__(self, application: Callable[..., Any], prefix: str) -> Web: ...


_Answer = Callable[[Call[Request], Mapping[str, str]], Coroutine[Any, Any, Response]]


class _Way:
    """Where a route leads: `answer` takes the call and its path parameters, not decoded.

    `calling`, where there is one, does so with an exchange, too, from its beginning to its end.
    """

    __slots__ = ("answer", "calling", "name", "public", "scope")

    def __init__(
        self, one: Endpoint | Mount, answer: _Answer, calling: Calling | None = None
    ) -> None:
        self.name = one.name
        self.public = one.public
        self.scope = one.scope
        self.answer = answer
        self.calling = calling

    def admits(self, who: Principal | None) -> bool:
        """Say whether somebody may come in: what a gateway has decided, once more.

        Between two releases of an app it may go by the routes of another one than ours: one that
        knew only of a public mount would let anybody to an endpoint that has come since.
        """
        return who is not None and (not self.scope or self.scope in who.scopes)


class Host:
    """Route a request to its endpoint, bind it, run it in its transaction, and answer.

    `name` is the service's, the origin of the faults that arise here. `providers` make injected
    values by type; a `Transaction` is this host's own affair: it is opened before the call and
    committed before the response is made; so is a `Snapshot`, which ends when the response has been
    sent. `title`, where there is one, has the endpoints described at /openapi.json. `fair` says
    when a timeout is the handler's own fault and not its caller's hurry: by default when it had the
    whole deadline. `keeping` is where outcomes of requests with an idempotency key are recorded.
    By `turns` go the calls of routes that compute, while its loop runs late.

    Raises Unbindable at construction for a function that cannot be bound, ValueError for two
    routes that claim the same path.
    """

    def __init__(
        self,
        name: str,
        endpoints: Iterable[Endpoint],
        mounts: Iterable[Mount] = (),
        *,
        tables: Tables | None,
        providers: Mapping[Any, Provider],
        mounted: Mounted | None = None,
        title: str = "",
        body_bytes: int = 1 << 20,
        fair: Fair = lambda one, _: one.deadline,
        keeping: Keeping | None = None,
        turns: Turns | None = None,
        clock: Clock = FINE,
    ) -> None:
        self._name = name
        self._tables = tables
        self._keeping = keeping
        self.turns = Turns(clock=clock) if turns is None else turns
        self._clock = clock
        self._body_bytes = body_bytes
        self._fair = fair
        self._providers = {**providers, Transaction: unopened, Snapshot: unread}
        self.operations: list[Operation] = []
        routes = [Route(one.method, one.path, self._bound(one)) for one in endpoints]
        if title and not any(route[:2] == ("GET", _DESCRIPTION) for route in routes):
            routes.append(Route("GET", _DESCRIPTION, self._described(title)))
        for mount in mounts:
            way = self._wrapped(mount, mounted)
            routes += [Route("*", template, way) for template in mount.templates]
        self._router: Router[_Way] = Router(routes)

    def run(self, exchange: Delivery[Request, Response]) -> Coroutine[Any, Any, None]:
        """Answer one exchange, and settle it: what a server runs.

        Calls are made ambient when they begin, with their own deadlines: not twice.
        """
        call = exchange.call
        request = call.payload
        found = self._router.match(request.method, request.path)
        if isinstance(found, Found):
            way = found.route.value
            if self.turns.on:
                call.trail.route = way.name  # it may be refused before it is led there
                work = partial(self.turns.run, way.name, partial(_lead, found))
                return dispatch(work, exchange, self._excuse)
            if way.calling is not None and (way.public or way.admits(call.principal)):
                call.trail.route = way.name
                return way.calling.run(call, _read(found.params, request), exchange)
        return dispatch(partial(_lead, found), exchange, self._excuse)

    def __call__(self, call: Call[Request]) -> Coroutine[Any, Any, Response]:
        """Answer one request. Raises the fault that the endpoint, or the lack of one, makes."""
        request = call.payload
        return _lead(self._router.match(request.method, request.path), call)

    def _bound(self, endpoint: Endpoint) -> _Way:
        """Compile one endpoint: its plan, its deadline, its transaction."""
        plan = bind(
            endpoint.function,
            path=endpoint.names,
            injectors=self._providers,
            offer=BODILESS if endpoint.method in _NO_BODY else HTTP,
        )
        if endpoint.public and asks(plan.parameters, self._providers.get(Principal)):
            raise Unbindable(
                f"{plan.where}: it asks for a Principal, and {endpoint.name} is public: whoever"
                " calls it is not asked who they are. Drop the one or the other"
            )
        status = endpoint.status or (201 if endpoint.method == "POST" else 200)
        idempotency = honours(endpoint, plan.parameters, plan.result)
        answer = answering(plan, status, endpoint.status or 204)
        self.operations.append(
            Operation(
                endpoint.method,
                endpoint.path,
                plan,
                status,
                scopes=(endpoint.scope,) if endpoint.scope else (),
                secured=not endpoint.public,
                idempotency=idempotency,
            )
        )
        reads, writes = (asks(plan.parameters, one) for one in (unread, unopened))
        if reads and writes:
            raise Unbindable(
                f"{plan.where}: it takes a Transaction and a Snapshot: the one has ended when an"
                " answer begins to stream from the other. Take one, and write in another request"
            )
        answers: Answers
        if reads:
            answers = reading(Work(plan, answer, self._body_bytes, unread), self._tables)
        elif not writes:
            return self._untransacted(endpoint, plan, answer)
        elif idempotency == "off":
            answers = transacting(Work(plan, answer, self._body_bytes), self._tables)
        else:
            work, required = Work(plan, answer, self._body_bytes), idempotency == "required"
            answers = keyed(endpoint.name, work, self._tables, self._keeping, required=required)
        run = self._within(endpoint, answers, repeatable=endpoint.repeatable).run
        latest, clock = endpoint.deadline, self._clock

        def bound(call: Call[Request], params: Mapping[str, str]) -> Coroutine[Any, Any, Response]:
            until = clock() + latest
            if until < call.deadline:
                call = replace(call, deadline=until)
            return run(replace(call, payload=HttpGiven(call, _read(params, call.payload))))

        return _Way(endpoint, bound)

    def _untransacted(self, endpoint: Endpoint, plan: Plan, answer: Answering) -> _Way:
        """Lead to a plan that needs nothing around it but its deadline."""
        whole = self._within(endpoint, _by_hand, repeatable=endpoint.repeatable)
        frame, limit = whole.frames[0], self._body_bytes
        calling = Calling(frame, plan, answer, limit, endpoint.deadline, self._excuse)

        def called(call: Call[Request], params: Mapping[str, str]) -> Coroutine[Any, Any, Response]:
            return calling.run(call, _read(params, call.payload))

        return _Way(endpoint, called, calling)

    def _wrapped(self, mount: Mount, mounted: Mounted | None) -> _Way:
        if mounted is None:
            raise ValueError(f"mount {mount.path}: nothing here hosts ASGI applications")
        handler = mounted(mount.application, mount.path.rstrip("/"))
        often, once = (self._within(mount, handler, repeatable=each).run for each in (True, False))
        latest, clock = mount.deadline, self._clock

        async def wrapped(call: Call[Request], _: Mapping[str, str]) -> Response:
            until = clock() + latest
            if until < call.deadline:
                call = replace(call, deadline=until)
            ambient.set(call)
            driver = working()
            try:
                result: Response = await (often if call.repeatable else once)(call)
            except BaseException as error:
                confine(error, driver)
                raise
            return plain(result)

        return _Way(mount, wrapped)

    def _described(self, title: str) -> _Way:
        """Answer with the description of the same types that bind the calls, written once."""
        document = openapi(self.operations, title=title, version="1")
        written = Response(200, JSON, msgspec.json.encode(document))

        async def described(_: Call[Request], __: Mapping[str, str]) -> Response:
            return written

        return _Way(Endpoint("GET", _DESCRIPTION, described, public=True), described)

    def _within(
        self, one: Endpoint | Mount, handler: Handler[Any, Any], *, repeatable: bool
    ) -> Stack:
        """Put a handler under its deadline. What it overruns counts against this service."""
        bound = Timeout(full=self._fair(one, repeatable), limit=inf, share=1.0)
        parts = [Part(Place.DEADLINE, bound)]
        return stack(self._name, INBOUND, parts, handler, clock=self._clock)

    def _excuse(self, error: Exception, call: Call[Request]) -> None:
        """Take a timeout amid the request's body for the slowness of whoever sends it."""
        if not isinstance(error, Fault) or error.code is not Code.DEADLINE_EXCEEDED:
            return
        if error.origin == self._name and call.payload.body.verdict != GOOD:
            error.refusal = Refusal.HURRIED


async def _by_hand(_: Call[Request]) -> Response:
    """Stand in the frame that `Calling` passes by hand."""
    raise AssertionError("nobody runs this frame")


async def _refuse(request: Request, found: object) -> Response:
    raise _missing(request.method, request.path, found)  # held here, it would hold itself


async def _forbid(scope: str, who: Principal | None) -> Response:
    known = "its gateway may have the routes of another release"
    if who is None:
        detail = f"nobody is vouched for on a route that is not public: {known}"
        raise Fault(Code.UNAUTHENTICATED, detail, effect=Effect.NONE)
    raise Fault(
        Code.PERMISSION_DENIED,
        f"the principal does not bear the scope {scope!r}: {known}",
        effect=Effect.NONE,
        public=f"Your token does not bear the scope {scope}.",
    )


def _lead(
    found: "Found[_Way] | NoMethod | NoRoute", call: Call[Request]
) -> Coroutine[Any, Any, Response]:
    """Answer a call where its path was found to lead.

    (It and what it leads to are no coroutines of their own: each would cost 0.1 us.)
    """
    if not isinstance(found, Found):
        return _refuse(call.payload, found)
    way = found.route.value
    call.trail.route = way.name
    if not way.public and not way.admits(call.principal):
        return _forbid(way.scope, call.principal)
    return way.answer(call, found.params)


def _read(params: Mapping[str, str], request: Request) -> Mapping[str, str]:
    """Return the parameters of a path as they are meant."""
    if "%" not in request.path:
        return params
    return {name: unquote(value) for name, value in params.items()}


def _missing(method: str, path: str, found: object) -> Fault:
    """Make the fault for a request that no route takes: an unknown path, or a wrong method."""
    if isinstance(found, NoMethod):
        allow = ", ".join(found.allow)
        return Fault(
            Code.UNIMPLEMENTED,
            f"{path} takes {allow}, not {method}",
            effect=Effect.NONE,
            public=f"This takes {allow}, not {method}.",
            extra={"status": 405, "allow": list(found.allow)},
        )
    return Fault(Code.NOT_FOUND, f"no route takes {method} {path}", effect=Effect.NONE)
