"""Doubtful: what a configuration may say, and hardly means. It is told by `check`, and served."""

from collections.abc import Iterator

from switchgear.assembly.routes import SERVICE
from switchgear.assembly.settings import Settings
from switchgear.gateway.client_address import networks

__all__ = ["doubtful"]


def doubtful(settings: Settings) -> Iterator[str]:
    """Yield what leaves a protection, or the app itself, without effect."""
    trusted = settings.gateway.trusted_proxies
    for text, network in zip(trusted, networks(trusted), strict=True):
        if network.prefixlen == 0:
            yield (
                f"gateway.trusted_proxies: {text} is everybody: any client may say that it is "
                "another, and no limit per address holds"
            )
    if settings.processes.services == 0 and not settings.peers.get(SERVICE):
        yield (
            "processes.services: there is none, nor are there any at peers.service: nothing that "
            "the app serves is answered"
        )
