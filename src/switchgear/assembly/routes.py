"""Routes: an app's declarations as the gateway's table, and any ASGI application as an app."""

from collections.abc import Iterable
from typing import Any, Final

from switchgear.accounts.surface import ENDED as ENDED_FACE
from switchgear.accounts.surface import KEYS as KEYS_FACE
from switchgear.accounts.surface import SURFACE, Face
from switchgear.assembly.app import App
from switchgear.assembly.failures import StartError
from switchgear.assembly.foreign import misshapen
from switchgear.gateway.table import RouteEntry
from switchgear.http.settings import ServerSettings
from switchgear.policy.route import Route, Router
from switchgear.services.endpoint import Endpoint, Mount, timed
from switchgear.services.honours import honours_unbound

__all__ = [
    "ACCOUNTS",
    "DESCRIPTION",
    "ENDED",
    "HEALTH",
    "KEYS",
    "SERVICE",
    "app_of",
    "declared",
    "is_native",
    "routes_of",
]

SERVICE: Final = "service"
ACCOUNTS: Final = "accounts"
HEALTH: Final = ("/health/live", "/health/ready")
"""What every gateway answers itself."""
_SETTING: Final = "http.deadline"


def _of_accounts(face: Face) -> RouteEntry:
    return RouteEntry(
        face.method,
        face.path,
        ACCOUNTS,
        public=True,
        deadline=face.deadline,
        sign_in=face.credentials,
    )


_OF_ACCOUNTS: Final = {face: _of_accounts(face) for face in SURFACE}
KEYS: Final = _OF_ACCOUNTS[KEYS_FACE]
"""Where gateways, too, get the keys: one route, so that what is learnt of it is learnt once."""
ENDED: Final = _of_accounts(ENDED_FACE)
"""Where gateways alone ask which sessions have ended: it is in no table of routes."""

DESCRIPTION: Final = RouteEntry("GET", "/openapi.json", SERVICE, public=True)


def is_native(loaded: object) -> bool:
    """Say whether it is an App of ours: it has accounts, a database, consumers, a schema."""
    return isinstance(loaded, App)


def app_of(loaded: Any) -> App:
    """Take an App as it is, and put any ASGI application into one, at its root.

    Raises StartError for anything else.
    """
    if isinstance(loaded, App):
        return loaded
    if not callable(loaded):
        raise StartError(
            f"the app is a {type(loaded).__name__}: give an App, or an ASGI application"
        )
    if wrong := misshapen(loaded):
        raise StartError(f"the app is neither an App nor an ASGI application: {wrong}")
    app = App("app")
    app.mount("/", loaded)
    return app


def declared(app: App, deadline: float) -> tuple[list[Endpoint], list[Mount]]:
    """Return what an app serves; what says no deadline of its own has `deadline`, in seconds.

    Raises ValueError where attempts would take longer.
    """
    return [timed(one, deadline) for one in app.endpoints], [
        timed(one, deadline) for one in app.mounts
    ]


def routes_of(loaded: Any, deadline: float = ServerSettings().deadline) -> list[RouteEntry]:
    """Return everything the gateway routes for this app, its accounts included.

    `deadline` is the configured one, of what says none of its own.

    Raises StartError for what cannot be served: a path that is claimed twice, or is ours.
    """
    app = app_of(loaded)
    try:
        endpoints, mounts = declared(app, deadline)
        routes = [*map(_endpoint, endpoints, app.endpoints), *map(_mount, mounts, app.mounts)]
        taken = {(route.method, route.path) for route in routes}
        _leave(taken, (("GET", path) for path in HEALTH), "every gateway answers")
        if is_native(loaded):
            if (DESCRIPTION.method, DESCRIPTION.path) not in taken:
                routes.append(DESCRIPTION)
            _leave(taken, (face[:2] for face in SURFACE), "accounts answers")
            routes += _OF_ACCOUNTS.values()
        Router(Route(*template, route) for route in routes for template in route.templates)
    except ValueError as error:
        raise StartError(f"the app's routes cannot be served: {error}") from None
    return routes


def _leave(taken: set[tuple[str, str]], ours: Iterable[tuple[str, str]], who: str) -> None:
    """Refuse what the app declares of `ours`."""
    clash = [f"{method} {path}" for method, path in ours if (method, path) in taken]
    if clash:
        raise StartError(f"the app declares {', '.join(clash)}, which {who}")


def _endpoint(one: Endpoint, said: Endpoint) -> RouteEntry:
    return RouteEntry(
        one.method,
        one.path,
        SERVICE,
        one.scope,
        one.public,
        one.deadline,
        one.priority,
        attempt_timeout=one.attempt_timeout,
        keyed=honours_unbound(one),
        setting="" if said.deadline else _SETTING,
    )


def _mount(one: Mount, said: Mount) -> RouteEntry:
    return RouteEntry(
        "*",
        one.path,
        SERVICE,
        one.scope,
        one.public,
        one.deadline,
        one.priority,
        prefix=True,
        attempt_timeout=one.attempt_timeout,
        setting="" if said.deadline else _SETTING,
    )
