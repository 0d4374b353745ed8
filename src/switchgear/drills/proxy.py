"""The fault proxy, for TCP and unix sockets, in user space: its faults are switched while it runs.

As a library: `async with Proxy(listen, upstream) as proxy: await proxy.inject(Delay(seconds=1))`.
As a process: `python -m switchgear.drills.proxy --listen 127.0.0.1:0 --to 127.0.0.1:8080`; its
first line on standard output says where it listens, where its control is (see `control`), and
its seed; its last one the statistics.
"""

import argparse
import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping
from types import TracebackType

import msgspec

from switchgear.core.clock import FINE, Clock
from switchgear.drills.address import Address, Listener, dial
from switchgear.drills.control import Control
from switchgear.drills.injection import Injection, Refuse, kind
from switchgear.drills.pipe import Connection, Stream, reset
from switchgear.drills.process import announce, until_told

__all__ = ["Proxy", "Statistics"]


class Statistics(msgspec.Struct, frozen=True):
    """What a proxy has done: `injected` counts the events of each kind that really took place."""

    seed: int
    accepted: int
    live: int
    up_bytes: int
    down_bytes: int
    upstream_failures: int
    injected: Mapping[str, int]
    active: Mapping[int, str]


class Proxy:
    """Forward a listener's connections to `upstream`, both ways, with backpressure.

    A peer's FIN is passed on as FIN (half-closed connections work), its reset as a reset.
    """

    def __init__(
        self, listen: Address, upstream: Address, *, seed: int | None = None, clock: Clock = FINE
    ) -> None:
        self.seed = secrets.randbits(32) if seed is None else seed
        self._upstream = upstream
        self._clock = clock
        self._listener = Listener(listen, self._accept)
        self._injections: dict[int, Injection] = {}
        self._injected: Counter[str] = Counter()
        self._numbers = 0
        self._accepted = 0
        self._upstream_failures = 0
        self._passed = Counter[str]()
        self._live: dict[Connection, asyncio.Task[None]] = {}

    @property
    def address(self) -> Address:
        """Where it listens; the port is the real one."""
        return self._listener.address

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await self._listener.open()

    async def inject(self, injection: Injection) -> int:
        """Add an injection, at once and for live connections too; return its number."""
        self._numbers += 1
        self._injections[self._numbers] = injection
        await self._changed()
        if isinstance(injection, Refuse) and injection.how == "close":
            self._injected[kind(injection)] += 1
        return self._numbers

    async def heal(self, number: int | None = None) -> None:
        """Take back one injection, or all. What a hang held back goes on.

        Raises KeyError when there is no injection of that number.
        """
        if number is None:
            self._injections.clear()
        else:
            del self._injections[number]
        await self._changed()

    def statistics(self) -> Statistics:
        """Return the present figures."""
        up = sum(connection.up.passed_on for connection in self._live)
        down = sum(connection.down.passed_on for connection in self._live)
        return Statistics(
            seed=self.seed,
            accepted=self._accepted,
            live=len(self._live),
            up_bytes=self._passed["up"] + up,
            down_bytes=self._passed["down"] + down,
            upstream_failures=self._upstream_failures,
            injected=dict(self._injected),
            active={number: kind(active) for number, active in self._injections.items()},
        )

    async def close(self) -> None:
        """Stop listening and reset what is still connected."""
        self._listener.close()
        tasks = list(self._live.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> "Proxy":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind_: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _changed(self) -> None:
        refusing = [active for active in self._injections.values() if isinstance(active, Refuse)]
        if any(active.how == "close" for active in refusing):
            self._listener.shut()
        else:
            await self._listener.open()
        for connection in list(self._live):
            connection.adopt(self._injections)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        connection = Connection(
            (reader, writer), self._accepted, self.seed, self._injected, self._clock
        )
        if self._turned_away(connection):
            self._injected["refuse"] += 1
            reset(writer)
            return
        connection.adopt(self._injections)
        self._live[connection] = asyncio.create_task(self._carry(connection))

    def _turned_away(self, connection: Connection) -> bool:
        return any(
            isinstance(active, Refuse) and connection.up.course.hit(number, active)
            for number, active in self._injections.items()
        )

    async def _carry(self, connection: Connection) -> None:
        try:
            await connection.carry(self._dial)
        except OSError:
            self._upstream_failures += 1
        finally:
            del self._live[connection]
            self._passed["up"] += connection.up.passed_on
            self._passed["down"] += connection.down.passed_on

    async def _dial(self) -> Stream:
        return await dial(self._upstream)


async def _serve(settings: argparse.Namespace) -> None:
    async with Proxy(settings.listen, settings.to, seed=settings.seed) as proxy:
        control = Control(settings.control, proxy)
        await control.start()
        try:
            announce(listening=str(proxy.address), control=str(control.address), seed=proxy.seed)
            await until_told(attached=settings.attached)
        finally:
            await control.close()
            announce(**msgspec.to_builtins(proxy.statistics(), str_keys=True))


def main() -> None:
    """Run a proxy as a process, until SIGTERM, SIGINT or the end of its starter."""
    parser = argparse.ArgumentParser(prog="python -m switchgear.drills.proxy")
    parser.add_argument("--listen", type=Address.parse, default=Address("127.0.0.1"))
    parser.add_argument("--to", type=Address.parse, required=True, help="host:port or unix:/path")
    parser.add_argument("--control", type=Address.parse, default=Address("127.0.0.1"))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--attached", action="store_true", help="end when standard input ends")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
