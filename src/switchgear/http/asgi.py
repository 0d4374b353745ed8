"""The ASGI host: any ASGI 3 app is a handler.

```
   the server's frames --await head--> Response | StreamResponse | Upgrade
                                             |
   the app's own task  --send-----------> Stream / WebSocket
```

An app runs in a real task with a Context of its own (timeouts, task groups and anyio find what
they look for), while the frames around it wait for the head alone. A client who leaves, or a
deadline, calls the app off until its answer is complete; what it does afterwards (background
tasks) is its own affair. Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
import logging
from asyncio import CancelledError, Future
from collections.abc import Callable
from typing import Final

from switchgear.core.parked import Parked
from switchgear.core.timed import timed
from switchgear.http.asgi_run import Run
from switchgear.http.asgi_scope import http_scope, socket_scope
from switchgear.http.asgi_socket import SocketRun
from switchgear.http.defects import log_defect
from switchgear.http.lifespan import App, Lifespan, Scope
from switchgear.http.message import Request, Response
from switchgear.http.settings import SocketSettings
from switchgear.policy.call import Call

__all__ = ["AsgiHost"]

PARKED: Final = 256  # tasks that are kept for the next requests
CALLED_OFF: Final = 5.0  # seconds that apps get to return at the end, once they were cancelled

_log: Final = logging.getLogger("switchgear.http")


class AsgiHost:
    """Host an ASGI app as a handler of requests and WebSockets, under the path `root_path`.

    `start` and `stop` run its lifespan. `on_defect` is told what the app raised where that cannot
    become the call's failure, because there was an answer already.
    """

    def __init__(
        self,
        app: App,
        root_path: str = "",
        *,
        on_defect: Callable[[BaseException, Call[Request]], None] = log_defect,
        socket: SocketSettings | None = None,
    ) -> None:
        self.app = app
        self.on_defect = on_defect
        self.socket = socket or SocketSettings()
        self._root_path = root_path.rstrip("/")  # else frameworks send the path itself to and fro
        self._lifespan = Lifespan(app)
        self._runs: set[Run] = set()
        self._idle: list[Parked] = []
        self._quiet: Future[None] | None = None

    @property
    def running(self) -> int:
        """How many apps have not returned, though their answers may be complete."""
        return len(self._runs)

    async def start(self) -> None:
        """Start the app. Raises RuntimeError when it says that it cannot."""
        await self._lifespan.startup()

    async def stop(self, timeout: float = 10.0) -> None:
        """Wait for what apps still do, then end the lifespan.

        What is not done within `timeout` seconds is cancelled. Raises RuntimeError when the app
        failed to shut down.
        """
        await self._still(timeout)
        for run in tuple(self._runs):
            run.cancel()
        await self._still(CALLED_OFF)
        if self._runs:
            _log.error("%d runs of the app outlive their cancellation", len(self._runs))
        idle, self._idle = self._idle, []
        for parked in idle:
            parked.close()
        await self._lifespan.shutdown(timeout)

    async def _still(self, timeout: float) -> None:
        if self._runs:
            self._quiet = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._quiet], timeout=timeout)
            self._quiet = None

    async def __call__(self, call: Call[Request]) -> Response:
        """Answer a call by the app.

        Raises what the app raised before its answer had begun.
        """
        run = SocketRun(self, call) if call.payload.upgrade else Run(self, call)
        parked = self._idle.pop() if self._idle else Parked(asyncio.get_running_loop())
        self._runs.add(run)
        parked.run(timed(run.main(parked)))
        try:
            return await run.head
        except CancelledError:
            run.call_off()
            raise

    def over(self, run: Run, parked: Parked) -> None:
        """Take the end of one run of the app; its task is used again."""
        self._runs.discard(run)
        if len(self._idle) < PARKED:
            self._idle.append(parked)
        else:
            parked.close()
        if not self._runs and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    def scope(self, call: Call[Request]) -> Scope:
        """Make the scope of a request, or of a WebSocket."""
        make = socket_scope if call.payload.upgrade else http_scope
        return make(call, self._root_path, self._lifespan.state)
