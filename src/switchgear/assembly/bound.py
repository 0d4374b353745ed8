"""Binding everything that an app declares, without running any of it."""

from switchgear.assembly.app import App
from switchgear.consumers.worker import bind_subscription
from switchgear.services.host import Host
from switchgear.services.providers import http_providers

__all__ = ["bind_all"]


def bind_all(app: App) -> None:
    """Bind every endpoint and consumer.

    Raises Unbindable for the first that cannot be.
    """
    Host(
        app.endpoints,
        (),
        tables=None,
        providers=http_providers(),
    )
    for one in app.subscriptions:
        bind_subscription(one, {})
