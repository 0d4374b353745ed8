"""The bell: tells the consumers of other processes that something is ready. A hint, never more.

One connection of its own that listens and notifies. A notification inside the publishing
transaction would serialise all commits; so it is sent after them, those of a hundredth of a second
together. What is lost here is found by polling.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context
from random import random
from typing import Any, Final

import asyncpg

from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.queue.sql import RING

__all__ = ["Bell"]

CHANNEL: Final = "switchgear_ready"
GATHER: Final = 0.01  # seconds between two notifications
TIMEOUT: Final = 5.0
FAREWELL: Final = 0.1  # seconds to send what is pending at the end
RETRY: Final = (0.05, 1.0)  # seconds: the first wait for a connection, and the longest
AWAY: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class Bell:
    """Rings for topics, and calls who listens for them. Starts at the first use."""

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._pending: set[str] = set()
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def ring(self, topics: Iterable[str]) -> None:
        """Tell every process that listens for `topics`, soon."""
        if self._closed:
            return
        self._pending.update(topics)
        self._due.set()
        self._start()

    def listen(self, topic: str, listener: Callable[[], None]) -> None:
        """Call `listener` when the bell rings for `topic`."""
        self._listeners.setdefault(topic, []).append(listener)
        self._start()

    def deafen(self, topic: str, listener: Callable[[], None]) -> None:
        """Call `listener` no more."""
        listeners = self._listeners.get(topic, [])
        if listener in listeners:
            listeners.remove(listener)

    async def close(self) -> None:
        """Send what is pending, if that goes quickly, and end."""
        self._closed = True
        task, self._task = self._task, None
        if task is None:
            return
        self._due.set()
        await asyncio.wait([task], timeout=FAREWELL)
        task.cancel()
        await asyncio.wait([task])

    def _start(self) -> None:
        if self._task is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._run(), context=Context())

    async def _run(self) -> None:
        wait, longest = RETRY
        loop = asyncio.get_running_loop()
        while not self._closed:
            began = loop.time()
            try:
                await self._connected()
            except Exception as error:  # noqa: BLE001 - polling goes on, and so do we
                if not isinstance(error, AWAY):
                    told = {"message": "the queue's bell failed", "exception": error}
                    loop.call_exception_handler(told)
                if loop.time() - began > longest:
                    wait = RETRY[0]
                await asyncio.sleep(wait * (0.5 + random() / 2))
                wait = min(longest, wait * 2)

    async def _connected(self) -> None:
        connection = await asyncpg.connect(
            **self._dsn.arguments(),
            timeout=TIMEOUT,
            command_timeout=TIMEOUT,
            server_settings={"application_name": "switchgear bell"},
        )
        try:
            await self._serve(connection)
        finally:
            connection.terminate()

    async def _serve(self, connection: Any) -> None:
        connection.add_termination_listener(lambda _: self._due.set())
        await connection.add_listener(CHANNEL, self._heard)
        self._wake_all()  # what was rung meanwhile was not heard
        while True:
            await self._due.wait()
            self._due.clear()
            topics, self._pending = self._pending, set()
            try:
                # Also with nothing to ring: a connection that was lost says so here.
                await connection.execute(RING, CHANNEL, sorted(topics))
            except BaseException as error:
                # What no notification holds (8000 bytes) would fail for ever, and all with it.
                if not isinstance(error, asyncpg.DataError):
                    self._pending |= topics
                raise
            if self._closed:
                return
            await asyncio.sleep(GATHER)

    def _heard(self, _connection: Any, _pid: int, _channel: str, topic: Any) -> None:
        for listener in tuple(self._listeners.get(topic, ())):
            listener()

    def _wake_all(self) -> None:
        for listeners in tuple(self._listeners.values()):
            for listener in tuple(listeners):
                listener()
