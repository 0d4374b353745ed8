"""Mounted ASGI applications: hosted beside the endpoints, started and stopped with the process."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

from switchgear.core.handler import Handler
from switchgear.http.asgi import AsgiHost
from switchgear.http.message import Request, Response
from switchgear.policy.call import Call

__all__ = ["Mounts"]


class Mounts:
    """Hosts applications; entered before serving, left after it: their lifespans."""

    def __init__(self, on_defect: Callable[[BaseException, Call[Request]], None]) -> None:
        self._on_defect = on_defect
        self._hosts: list[AsgiHost] = []
        self._started = AsyncExitStack()

    def mounted(self, application: Callable[..., Any], prefix: str) -> Handler[Request, Response]:
        """Host one application under a path prefix."""
        host = AsgiHost(application, prefix, on_defect=self._on_defect)
        self._hosts.append(host)
        return host

    async def __aenter__(self) -> "Mounts":
        async with AsyncExitStack() as started:
            for host in self._hosts:
                await host.start()
                started.push_async_callback(host.stop)
            self._started = started.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._started.aclose()
