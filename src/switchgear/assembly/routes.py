"""Routes: an app's declarations as the gateway's table, and any ASGI application as an app."""

from typing import Any, Final

from switchgear.assembly.app import App
from switchgear.assembly.failures import StartError
from switchgear.gateway.table import RouteEntry

__all__ = ["ACCOUNTS", "SERVICE", "app_of", "is_native", "routes_of"]

SERVICE: Final = "service"
ACCOUNTS: Final = "accounts"

_OF_ACCOUNTS: Final = (
    RouteEntry("POST", "/accounts", ACCOUNTS, public=True, sign_in=True),
    RouteEntry("POST", "/tokens", ACCOUNTS, public=True, sign_in=True),
    RouteEntry("POST", "/tokens/refresh", ACCOUNTS, public=True, sign_in=True),
    RouteEntry("GET", "/.well-known/jwks.json", ACCOUNTS, public=True),
)
_OF_PLATFORM: Final = (RouteEntry("GET", "/openapi.json", SERVICE, public=True),)


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
    app = App("app")
    app.mount("/", loaded)
    return app


def routes_of(loaded: Any) -> list[RouteEntry]:
    """Return everything the gateway routes for this app, its accounts included."""
    app = app_of(loaded)
    routes = [
        RouteEntry(one.method, one.path, SERVICE, one.scope, one.public, one.deadline, one.priority)
        for one in app.endpoints
    ]
    routes += [
        RouteEntry(
            "*", one.path, SERVICE, one.scope, one.public, one.deadline, one.priority, prefix=True
        )
        for one in app.mounts
    ]
    if is_native(loaded):
        taken = {(route.method, route.path) for route in routes}
        routes += [one for one in _OF_PLATFORM if (one.method, one.path) not in taken]
        clash = [one.name for one in _OF_ACCOUNTS if (one.method, one.path) in taken]
        if clash:
            raise StartError(f"the app declares {', '.join(clash)}, which accounts answers")
        routes += _OF_ACCOUNTS
    return routes
