"""The lifespan of an ASGI app: started before the first request, ended after the last.

```
  idle --startup--> starting --complete--> started --shutdown--> stopping --complete--> over
                       +--failed, or it raises or returns: it has no lifespan, or could not start
```

Source: https://asgi.readthedocs.io/en/latest/specs/lifespan.html
"""

import asyncio
import logging
from asyncio import CancelledError, Future
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import Context
from typing import Any, Final

from switchgear.core.confining import confined
from switchgear.core.drivers import working
from switchgear.policy.crossing import worded

__all__ = ["App", "Lifespan", "Message", "Scope"]

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
App = Callable[
    [Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

LEAVING: Final = 5.0  # seconds that an app gets to return after it said that it could not start

_log: Final = logging.getLogger("switchgear.http")


class Lifespan:
    """Runs an app's lifespan in a task and an empty Context of its own.

    An app that raises on the scope does not have one: that is allowed, and the app is served; one
    that exits is not. What it raises later is its failure, told by `shutdown`.
    """

    def __init__(self, app: App) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: Future[str] | None = None
        self._phase = ""  # what the app has to say something of: "startup", "shutdown"
        self._error: Exception | None = None  # what it raised once it had started
        self._failed = ""  # what it said of its failure, unasked
        self._heard = False  # the app has taken an event

    async def startup(self) -> None:
        """Start the app. Raises RuntimeError when it says that it cannot."""
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._phase = "startup"
        self._told.put_nowait({"type": "lifespan.startup"})
        self._task = loop.create_task(self._run(), context=Context())
        try:
            failure = await self._answer
        except CancelledError:
            await self._end(0.0)
            raise
        if failure:
            await self._end(LEAVING)
            raise RuntimeError(f"the app failed to start: {failure}")

    async def shutdown(self, timeout: float = 10.0) -> None:
        """End the app; it is called off when it takes longer than `timeout` seconds.

        Raises RuntimeError when it says that it failed, or raises, or had done so before.
        """
        task = self._task
        if task is None:
            return
        failure = self._failed
        if not task.done():
            self._answer = asyncio.get_running_loop().create_future()
            self._phase = "shutdown"
            self._told.put_nowait({"type": "lifespan.shutdown"})
            if not await self._end(timeout):
                failure = f"it took longer than {timeout:g} s"
            elif self._answer.done():
                failure = failure or self._answer.result()
        self._task = None
        error, self._error = self._error, None
        if error is not None:
            failure = failure or f"{type(error).__name__}: {error}"
        if failure:
            raise RuntimeError(f"the app failed to shut down: {failure}") from error

    async def _end(self, timeout: float) -> bool:
        """Wait for the app to return, and call it off; return whether it did so by itself."""
        task = self._task
        assert task is not None  # noqa: S101 - the caller has started it
        await asyncio.wait([task], timeout=timeout)
        if task.done():
            return True
        task.cancel()
        await asyncio.wait([task])
        return False

    async def _run(self) -> None:
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        driver = working()
        try:
            await self._app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - told below, as what it is
            self._raised(error)
        except BaseException as error:
            defect = confined(error, driver)
            if defect is None:
                raise
            if isinstance(error, SystemExit) and self._phase == "startup":
                self._settle(worded(error))  # it asks not to be served, as no error does
            else:
                self._raised(defect)
        finally:
            self._settle("")

    def _raised(self, error: Exception) -> None:
        """Take what the app raised: it has no lifespan, or its lifespan has failed."""
        said = self._phase and self._answer is not None and self._answer.done()
        if said or self._failed:
            return  # it has said that it failed, and raises what it failed by
        if self._phase != "startup":
            self._error = error
            _log.error("the app's lifespan failed", exc_info=error)
        elif self._heard:  # to be served none the less: so the specification has it
            _log.error("the app raised while it started; it is served", exc_info=error)
        else:
            _log.info("the app takes no part in its lifespan: %s: %s", type(error).__name__, error)

    async def _receive(self) -> Message:
        message = await self._told.get()
        self._heard = True
        return message

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        phase = self._phase
        if kind == "lifespan.shutdown.failed" and not phase and self._answer is not None:
            self._failed = message.get("message") or "it gave no reason"  # unasked: it broke down
            _log.error("the app's lifespan failed: %s", self._failed)
            return
        settled = self._answer is None or self._answer.done()
        if not phase or settled or kind not in (f"lifespan.{phase}.complete",
                                                f"lifespan.{phase}.failed"):  # fmt: skip
            raise RuntimeError(f"an app must not send {kind!r} now")
        if kind.endswith("complete"):
            self._phase = ""
            self._settle("")
        else:
            self._settle(message.get("message") or "it gave no reason")

    def _settle(self, failure: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(failure)
