"""Dialling: opening one more connection of a pool, apart from whoever asked for it."""

import asyncio
from asyncio import Future
from contextvars import Context
from typing import TYPE_CHECKING

from switchgear.policy.fault import Effect

if TYPE_CHECKING:
    from switchgear.http.client import Upstream
    from switchgear.http.pool import Pool

__all__ = ["Dial", "Hurry"]


class Dial:
    """One connection being opened, in a task of its own: who asked for it may leave.

    It is its own alarm: when it rings, the attempt is called off.
    """

    __slots__ = ("_late", "_pool", "_slot", "found", "task")

    def __init__(self, pool: "Pool") -> None:
        loop = asyncio.get_running_loop()
        self._pool = pool
        self._late = False
        self.found: Future[Upstream] = loop.create_future()
        self._slot = pool.sweep.arm(pool.clock() + pool.settings.connect_timeout, self)
        self.task = loop.create_task(self._run(), context=Context())

    async def _run(self) -> None:
        made: Upstream | None = None
        failure: BaseException | None = None
        try:
            made = await self._pool.dial()
        except asyncio.CancelledError as error:
            within = f"none within {self._pool.settings.connect_timeout} s"
            failure = TimeoutError(within) if self._late else error
        except OSError as error:
            failure = error
        finally:
            self._slot.discard(self)
            self._pool.dialled(self, made, failure)

    def ring(self) -> None:
        """Call the attempt off: it took too long, or the pool is closing."""
        self._late = True
        self.task.cancel()


class Hurry:
    """The deadline of a call that waits for a connection."""

    __slots__ = ("_found", "_pool")

    def __init__(self, found: "Future[Upstream]", pool: "Pool") -> None:
        self._found = found
        self._pool = pool

    def ring(self) -> None:
        if not self._found.done():
            self._found.set_exception(self._pool.overdue(Effect.NONE))
