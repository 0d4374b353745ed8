"""The load: so many requests a second, from outside, whatever the system makes of them.

It is open-loop: request `n` is due at `start + n / rate`, and its latency counts from then, so that
a system that stalls is charged for every request that it kept waiting (no coordinated omission).
Connections are kept alive and opened again when they end; no request is ever sent twice.

As a process: `python -m switchgear.drills.load --to 127.0.0.1:8080 --rate 300 --seconds 10 --get
/about`; a first line when it starts, a line for each request in `--out`, a last one that sums up.
"""

import argparse
import asyncio
import contextlib
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

import msgspec

from switchgear.core.clock import FINE, Clock
from switchgear.drills.address import Address
from switchgear.drills.process import announce, until_told
from switchgear.drills.reply import Reply
from switchgear.drills.scribe import Scribe
from switchgear.drills.summary import Record, summarise
from switchgear.drills.wire import Failed, Failure, Request, Wire

__all__ = ["Factory", "Load", "Plan", "Same", "factory_named"]


class Plan(msgspec.Struct, frozen=True):
    """How much is asked for: `rate` a second, until `seconds` or `count` is reached.

    A request without an answer `timeout` seconds after it was due is given up.
    """

    target: Address
    rate: float
    seconds: float
    connections: int = 16
    timeout: float = 5.0
    count: int = 1_000_000

    def __post_init__(self) -> None:
        if min(self.rate, self.seconds, self.connections, self.timeout, self.count) <= 0:
            raise ValueError(f"every figure of a plan is above 0: {self}")

    @property
    def total(self) -> int:
        """How many requests that makes."""
        return max(1, min(self.count, round(self.rate * self.seconds)))


class Factory(Protocol):
    """What is asked for, by sequence number, and whether the answer is the one that was due."""

    def request(self, sequence: int) -> Request: ...

    def wrong(self, request: Request, reply: Reply) -> str:
        """Say what is wrong with a whole reply; nothing when it is right."""
        ...


class Same:
    """The same request every time."""

    def __init__(self, method: str, path: str, body: str = "") -> None:
        headers = (("Content-Type", "application/json"),) if body else ()
        self._request = Request(method, path, headers, body.encode())

    def request(self, sequence: int) -> Request:
        return self._request

    def wrong(self, request: Request, reply: Reply) -> str:
        return ""


def factory_named(name: str, arguments: dict[str, object]) -> Factory:
    """Make the factory that `module:callable` names. Raises ValueError when it names none."""
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(f"{name!r} is not module:callable")
    made: Factory = getattr(importlib.import_module(module), attribute)(**arguments)
    return made


class Load:
    """Send a plan's requests; `record` hears of each one when it has ended."""

    def __init__(
        self,
        plan: Plan,
        factory: Factory,
        record: Callable[[Record], None],
        *,
        scribe: Scribe | None = None,
        clock: Clock = FINE,
    ) -> None:
        self._plan = plan
        self._factory = factory
        self._record = record
        self._scribe = scribe
        self._clock = clock
        self._stopped = asyncio.Event()
        self._wires = [Wire(plan.target) for _ in range(plan.connections)]
        self._free: asyncio.Queue[Wire] = asyncio.Queue()
        self.lag = 0.0  # how late we ourselves were, at worst: our machine was too busy

    @property
    def connects(self) -> int:
        """How often a connection was opened."""
        return sum(wire.connects for wire in self._wires)

    def stop(self) -> None:
        """Ask for no more; what is under way is waited for."""
        self._stopped.set()

    async def run(self, start: float) -> None:
        """Send every request when it is due, counted from `start`, and wait for their ends."""
        for wire in self._wires:
            self._free.put_nowait(wire)
        try:
            async with asyncio.TaskGroup() as group:
                for sequence in range(self._plan.total):
                    due = start + sequence / self._plan.rate
                    if await self._stopped_before(due):
                        return
                    self.lag = max(self.lag, self._clock() - due)
                    group.create_task(self._one(sequence, due))
        finally:
            for wire in self._wires:
                wire.abort()
            await asyncio.sleep(0)  # aborted transports close on the next turn

    async def _stopped_before(self, due: float) -> bool:
        while not self._stopped.is_set() and (left := due - self._clock()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), left)
        return self._stopped.is_set()

    async def _one(self, sequence: int, due: float) -> None:
        request = self._factory.request(sequence)
        if self._scribe is not None and request.id:
            self._scribe.intent(request.id, request.mark)
        sending = _Sending()
        status, error = 0, ""
        try:
            async with asyncio.timeout(max(0.0, due + self._plan.timeout - self._clock())):
                reply = await self._exchange(request, sending)
            status = reply.status
            error = Failure.WRONG.value if self._factory.wrong(request, reply) else ""
        except TimeoutError:
            error = Failure.TIMEOUT.value
        except Failed as failed:
            error = failed.failure.value
        record = Record(sequence, due, sending.at, self._clock(), status, error)
        if self._scribe is not None and request.id:
            _tell(self._scribe, request.id, record)
        self._record(record)

    async def _exchange(self, request: Request, sending: "_Sending") -> Reply:
        wire = await self._free.get()
        try:
            await wire.open()
            sending.at = self._clock()
            return await wire.exchange(request)
        finally:
            self._free.put_nowait(wire)


class _Sending:
    """The instant at which a request left; None until it has."""

    at: float | None = None


def _tell(scribe: Scribe, name: str, record: Record) -> None:
    """Tell the ledger what the answer means for the effect."""
    if 200 <= record.status < 300:
        scribe.acknowledged(name)
    elif record.sent is None or (400 <= record.status < 500 and record.status != 408):
        scribe.refused(name)
    else:
        scribe.unknown(name)


async def _serve(settings: argparse.Namespace) -> None:
    plan = Plan(
        target=settings.to,
        rate=settings.rate,
        seconds=settings.seconds,
        connections=settings.connections,
        timeout=settings.timeout,
        count=settings.count,
    )
    records: list[Record] = []
    with contextlib.ExitStack() as stack:
        scribe = None
        if settings.ledger is not None:
            scribe = stack.enter_context(Scribe(settings.ledger, by="load"))
        out = stack.enter_context(settings.out.open("wb")) if settings.out else None
        load = Load(plan, _chosen(settings), _recorder(records, out), scribe=scribe)
        start = FINE() + 0.05
        announce(start=start, total=plan.total, target=str(plan.target))
        await _until_done(load, start, attached=settings.attached)
        if scribe is not None:
            scribe.sync()
    summary = msgspec.to_builtins(summarise(records))
    announce(**summary, lag=load.lag, connects=load.connects)


async def _until_done(load: Load, start: float, *, attached: bool) -> None:
    told = asyncio.create_task(until_told(attached=attached))
    told.add_done_callback(lambda _: load.stop())
    try:
        await load.run(start)
    finally:
        told.cancel()
        await asyncio.gather(told, return_exceptions=True)


def _recorder(records: list[Record], out: IO[bytes] | None) -> Callable[[Record], None]:
    def record(one: Record) -> None:
        records.append(one)
        if out is not None:
            out.write(msgspec.json.encode(one) + b"\n")

    return record


def _chosen(settings: argparse.Namespace) -> Factory:
    if settings.factory:
        return factory_named(settings.factory, json.loads(settings.arguments))
    if settings.post:
        return Same("POST", settings.post, settings.body)
    return Same("GET", settings.get)


def main() -> None:
    """Run a load as a process, to its end, or until SIGTERM, SIGINT or the end of its starter."""
    parser = argparse.ArgumentParser(prog="python -m switchgear.drills.load")
    parser.add_argument("--to", type=Address.parse, required=True, help="host:port or unix:/path")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--count", type=int, default=1_000_000, help="requests at most")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--get", default="/", help="a path")
    parser.add_argument("--post", default="", help="a path, with --body")
    parser.add_argument("--body", default="{}", help="JSON")
    parser.add_argument("--factory", default="", help="module:callable, instead of --get")
    parser.add_argument("--arguments", default="{}", help="JSON, for the factory")
    parser.add_argument("--ledger", type=Address.parse, help="where to tell intents and answers")
    parser.add_argument("--out", type=Path, help="a file for a JSON line per request")
    parser.add_argument("--attached", action="store_true", help="end when standard input ends")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
