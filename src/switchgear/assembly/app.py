"""The app: what a team declares. It builds nothing; roles read it and run their part of it."""

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from switchgear.assembly.elsewhere import MODULES, no_member, no_option
from switchgear.assembly.foreign import misshapen
from switchgear.assembly.made import note
from switchgear.binding.parameters import whereabouts
from switchgear.consumers.subscription import Subscription
from switchgear.policy.duration import seconds
from switchgear.services.endpoint import Endpoint, Idempotency, Mount

__all__ = ["App", "Options"]

Function = TypeVar("Function", bound=Callable[..., Awaitable[Any]])


class Options(TypedDict, total=False):
    """What may be said of an HTTP handler: see `App.endpoint`."""

    scope: str | None
    public: bool
    deadline: float | str | None
    priority: int
    status: int
    attempt_timeout: float | str | None
    idempotency: Idempotency | None


class App:
    """Everything an application declares: endpoints, consumers, mounted ASGI applications.

    `folder` is where its `migrations/` stands; by default that of the file that makes the app.
    Every declaration is checked when it is made and raises ValueError or TypeError at its line.
    """

    def __init__(self, name: str, *, folder: str | Path | None = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"an app has a name first, as in App('orders'), not {name!r}")
        if not name or not name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"app name {name!r}: write letters, digits, - and _")
        self.name = name
        file, line = _caller()
        self.folder = Path(folder) if folder is not None else file.parent
        self.endpoints: list[Endpoint] = []
        self.mounts: list[Mount] = []
        self.subscriptions: list[Subscription] = []
        self._declared: dict[str, Endpoint] = {}
        note(self, f"{file}:{line}")

    def get(self, path: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """Declare a handler for GET; HEAD is answered from it. Options as for `endpoint`."""
        return self._endpoint("GET", path, options)

    def post(self, path: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """Declare a handler for POST. Options as for `endpoint`."""
        return self._endpoint("POST", path, options)

    def put(self, path: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """Declare a handler for PUT. Options as for `endpoint`."""
        return self._endpoint("PUT", path, options)

    def patch(self, path: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """Declare a handler for PATCH. Options as for `endpoint`."""
        return self._endpoint("PATCH", path, options)

    def delete(self, path: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """Declare a handler for DELETE. Options as for `endpoint`."""
        return self._endpoint("DELETE", path, options)

    def _endpoint(self, method: str, path: str, options: Options) -> Callable[[Function], Function]:
        for name in options:
            if name not in Options.__annotations__:
                raise TypeError(f"{method} {path}: {no_option(name, Options.__annotations__)}")
        return self.endpoint(method, path, **options)

    if not TYPE_CHECKING:  # who checks types is told by his checker

        def __getattr__(self, name: str) -> None:
            raise AttributeError(no_member(name), name=name, obj=self)

    def endpoint(
        self,
        method: str,
        path: str,
        *,
        scope: str | None = None,
        public: bool = False,
        deadline: float | str | None = None,
        priority: int = 5,
        status: int = 0,
        attempt_timeout: float | str | None = None,
        idempotency: Idempotency | None = None,
    ) -> Callable[[Function], Function]:
        """Declare an HTTP handler.

        Without `public` the caller needs a valid token, with `scope` one that bears it. `deadline`
        is seconds or "2s", by default what is configured (`http.deadline`, 3 s). `priority` 0 is
        the first to be shed under load, 8 the last. `status` is the success status: by default 201
        for POST, 204 for None, else 200.

        A call that may be repeated (GET, PUT, DELETE) is tried again elsewhere when it takes longer
        than `attempt_timeout`: by default a third of the deadline, at least 1 s. At a POST or PATCH
        there is no such option: one attempt is made, of a request without an Idempotency-Key.

        A POST or PATCH that takes a `Transaction`, and is not public, is done once for each
        Idempotency-Key, and a repeated request answered as the first was: `idempotency="required"`
        asks for one, "off" heeds none.
        """
        if not isinstance(path, str):
            raise TypeError(f'write @app.{method.lower()}("/path"), with the route\'s path')

        def declare(function: Function) -> Function:
            _must_be_async(function, f"{method} {path}")
            endpoint = Endpoint(
                method,
                path,
                function,
                _scope(f"{method} {path}", scope),
                public,
                _seconds(deadline),
                priority,
                status,
                _seconds(attempt_timeout),
                "" if idempotency is None else idempotency,
            )
            # Told here, at its line: what a name of the path is called makes no other route.
            taken = self._declared.setdefault(endpoint.shape, endpoint)
            if taken is not endpoint:
                where = whereabouts(taken.function)
                raise ValueError(f"{endpoint.name} is declared twice: {taken.name} is {where}")
            self.endpoints.append(endpoint)
            return function

        return declare

    def consumer(
        self,
        topic: str,
        *,
        lanes: int = 8,
        attempts: int = 10,
        deadline: float | str = 30.0,
        at_least_once: bool = False,
    ) -> Callable[[Function], Function]:
        """Declare a consumer of `topic`.

        It takes the message and a `Transaction` (effects commit with the message, once) or an
        `IdempotencyKey` (effects elsewhere); one that takes neither must say `at_least_once`.
        """
        if not isinstance(topic, str):  # the function itself: it would be no consumer, and no error
            raise TypeError('write @app.consumer("topic"), with the topic\'s name')

        def declare(function: Function) -> Function:
            _must_be_async(function, f"consumer {topic}")
            subscription = Subscription(
                topic, function, lanes, attempts, seconds(deadline), at_least_once
            )
            if any(one.topic == topic for one in self.subscriptions):
                raise ValueError(f"consumer {topic} is declared twice")
            self.subscriptions.append(subscription)
            return function

        return declare

    def mount(
        self,
        path: str,
        application: Callable[..., Any],
        *,
        scope: str | None = None,
        public: bool = True,
        deadline: float | str | None = None,
        priority: int = 5,
        attempt_timeout: float | str | None = None,
    ) -> None:
        """Put an ASGI application (FastAPI, Starlette, Django, ...) under a path.

        It is public by default, since it has its own sign-in; `public=False` or a `scope` puts ours
        before it. The other options are those of `endpoint`.
        """
        if isinstance(application, App):
            raise TypeError(f"mount {path!r}: an App serves what is declared on it: {MODULES}")
        if wrong := misshapen(application):
            raise TypeError(f"mount {path!r}: {wrong}")
        mount = Mount(
            path,
            application,
            _scope(f"mount {path!r}", scope),
            public and scope is None,
            _seconds(deadline),
            priority,
            _seconds(attempt_timeout),
        )
        if any(one.path == path for one in self.mounts):
            raise ValueError(f"mount {path!r} is declared twice")
        self.mounts.append(mount)


def _scope(where: str, given: str | None) -> str:
    """Return a scope; an empty one, of a variable that is not set, would ask for any token."""
    if given == "":
        raise ValueError(f"{where}: scope='' names none: leave it out where any token will do")
    return given or ""


def _seconds(given: float | str | None) -> float:
    """Return a duration in seconds; 0 is what is configured."""
    return 0.0 if given is None else seconds(given)


def _must_be_async(function: Callable[..., Any], where: str) -> None:
    name = getattr(function, "__name__", function)
    if inspect.isasyncgenfunction(function):
        raise TypeError(f"{where}: {name!r} must return its answer, not `yield` it")
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{where}: {name!r} must be `async def`")


def _caller() -> tuple[Path, int]:
    """Return the file that called App(), and the line."""
    frame = inspect.currentframe()
    caller = frame.f_back.f_back if frame is not None and frame.f_back is not None else None
    if caller is None:
        return Path.cwd() / "app.py", 0
    return Path(caller.f_code.co_filename).resolve(), caller.f_lineno
