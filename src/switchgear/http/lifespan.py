"""The lifespan of an ASGI app: started before the first request, ended after the last."""

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import Context
from typing import Any

__all__ = ["App", "Lifespan", "Message", "Scope"]

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
App = Callable[
    [Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


class Lifespan:
    """Runs an app's lifespan in a task and an empty Context of its own.

    An app that raises on the scope does not have one: that is allowed, and the app is served.
    Source: https://asgi.readthedocs.io/en/latest/specs/lifespan.html
    """

    def __init__(self, app: App) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: Future[str] | None = None

    async def startup(self) -> None:
        """Start the app. Raises RuntimeError when it says that it cannot."""
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._told.put_nowait({"type": "lifespan.startup"})
        self._task = loop.create_task(self._run(), context=Context())
        failure = await self._answer
        if failure:
            raise RuntimeError(f"the app failed to start: {failure}")

    async def shutdown(self, timeout: float = 10.0) -> None:
        """End the app; it is called off when it takes longer than `timeout` seconds.

        Raises RuntimeError when it says that it failed.
        """
        task = self._task
        if task is None or task.done():
            return
        self._answer = asyncio.get_running_loop().create_future()
        self._told.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait([task], timeout=timeout)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        failure = self._answer.result() if self._answer.done() else ""
        if failure:
            raise RuntimeError(f"the app failed to shut down: {failure}")

    async def _run(self) -> None:
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._told.get, self._send)
        except Exception:  # noqa: BLE001 - the protocol's way of saying "I have no lifespan"
            self._settle("")
        else:
            self._settle("")

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
            self._settle("")
        elif kind in ("lifespan.startup.failed", "lifespan.shutdown.failed"):
            self._settle(message.get("message") or "it gave no reason")
        else:
            raise RuntimeError(f"an app must not send {kind!r} in its lifespan")

    def _settle(self, failure: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(failure)
