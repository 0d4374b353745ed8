"""Binding everything that an app declares, without running any of it."""

from collections.abc import Callable
from typing import Any

from switchgear.assembly.app import App
from switchgear.assembly.failures import StartError
from switchgear.assembly.routes import SERVICE
from switchgear.binding.parameters import Unbindable
from switchgear.consumers.worker import bind_subscription
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
        for one in app.subscriptions:
            bind_subscription(one, {})
    except (Unbindable, ValueError) as error:
        raise unbound(error) from None


def unbound(error: Unbindable | ValueError) -> StartError:
    """Say in one sentence that the app cannot be bound, and why."""
    return StartError(f"the app cannot be bound: {error}")


def _nowhere(application: Callable[..., Any], prefix: str) -> Handler[Request, Response]:
    async def handler(_: Call[Request]) -> Response:
        raise RuntimeError("an application that is only bound answers nothing")

    return handler
