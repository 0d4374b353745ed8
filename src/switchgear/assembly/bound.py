"""Binding everything that an app declares, without running any of it."""

from collections.abc import Callable
from typing import Any, get_type_hints

from switchgear.assembly.app import App
from switchgear.assembly.failures import StartError
from switchgear.assembly.routes import SERVICE
from switchgear.binding.parameters import Unbindable, whereabouts
from switchgear.consumers.worker import IdempotencyKey, bind_subscription
from switchgear.core.handler import Handler
from switchgear.http.message import Request, Response
from switchgear.policy.call import Call
from switchgear.services.host import Host
from switchgear.services.providers import http_providers

__all__ = ["bind_all", "unbound"]


def bind_all(app: App) -> None:
    """Bind every endpoint and consumer.

    Raises StartError for the first that cannot be.
    """
    try:
        Host(
            SERVICE,
            app.endpoints,
            app.mounts,
            tables=None,
            providers=http_providers(),
            mounted=_nowhere,
            title=app.name,
        )
        for endpoint in app.endpoints:
            _keyless(endpoint.function)
        for one in app.subscriptions:
            bind_subscription(one, {})
    except (Unbindable, ValueError) as error:
        raise unbound(error) from None


def unbound(error: Unbindable | ValueError) -> StartError:
    """Say in one sentence that the app cannot be bound, and why."""
    return StartError(f"the app cannot be bound: {error}")


def _keyless(function: Callable[..., Any]) -> None:
    """Refuse a handler that asks for a consumer's key: it would get a query parameter instead."""
    hints = get_type_hints(getattr(function, "func", function))
    if IdempotencyKey in hints.values():
        raise Unbindable(
            f"{whereabouts(function)}: it asks for an IdempotencyKey, which messages have. Where"
            ' requests bring one, take Annotated[str, Header("idempotency-key")]'
        )


def _nowhere(application: Callable[..., Any], prefix: str) -> Handler[Request, Response]:
    async def handler(_: Call[Request]) -> Response:
        raise RuntimeError("an application that is only bound answers nothing")

    return handler
