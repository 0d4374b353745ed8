"""CPU per request of server processes, contenders alternating under the same load."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

from bench._harness.load import Asked, Seen, ask
from bench._harness.pinning import cpus
from bench._harness.servers import Contender, Missing, Running, running
from bench._harness.tree import held, used

__all__ = ["Check", "Figures", "Load", "Measured", "Row", "check_nothing", "measure", "shown"]

_SETTLED_WITHIN: Final = 3.0  # seconds for what is counted to come to rest after the load
_SETTLING: Final = 0.3
_FIRST: Final = 3  # times the warm-up, before the first measure
_CHECKED_WITHIN: Final = 5.0

Check = Callable[[Contender, Running], object]
"""Sees what a server answers before it is measured: raises RuntimeError when it is wrong."""


class Load(NamedTuple):
    """How much of it: `seconds` per measure, after `warm_up` seconds that are not counted."""

    rounds: int = 3
    seconds: float = 2.0
    connections: int = 64
    warm_up: float = 1.0


class Row(NamedTuple):
    """One measure: seconds of CPU of the whole tree, and its memory after it.

    `kernel` is the system's part of the seconds.
    """

    cpu: float
    kernel: float
    seen: Seen
    held_bytes: int
    counted: Mapping[str, int]


class Figures(NamedTuple):
    """Medians over the rounds; CPU in microseconds per request, latencies in seconds.

    `kernel` is the system's part of `cpu`: what sockets cost whoever does nothing else.
    `busy` is the share of a CPU that the tree used: well below 1, something else was the limit.
    `invalid` says why the figures mean nothing, if so.
    """

    cpu: float
    kernel: float
    rate: float
    p50: float
    p99: float
    errors: int
    held_bytes: int
    busy: float
    invalid: str = ""


class Measured(NamedTuple):
    """What came of everybody; for who has no figures the reason."""

    figures: dict[str, Figures]
    rows: dict[str, list[Row]]
    reasons: dict[str, str]


def check_nothing(one: Contender, place: Running) -> None:
    """Take whatever it answers."""


def measure(
    contenders: Sequence[Contender | Missing],
    asked: Asked,
    load: Load,
    *,
    check: Check = check_nothing,
) -> Measured:
    """Load each contender in turn, round after round in another order, and return its medians.

    All run throughout; whoever is not loaded is idle. One that fails costs its own row alone.
    """
    server_cpu, _ = cpus()
    rows: dict[str, list[Row]] = {}
    reasons: dict[str, str] = {}
    invalid: dict[str, str] = {}
    with ExitStack() as stack:
        places: list[tuple[Contender, Running]] = []
        for one in contenders:
            if isinstance(one, Missing):
                reasons[one.name] = one.reason
                continue
            try:
                place = stack.enter_context(running(one, server_cpu))
                _checked(one, place, check)
            except (RuntimeError, OSError) as error:
                reasons[one.name] = str(error)
            else:
                places.append((one, place))
        for number in range(load.rounds):
            start = number % max(1, len(places))
            for one, place in places[start:] + places[:start]:
                if one.name in reasons:
                    continue
                try:
                    # The first time, a JIT compiler has more to do.
                    warm = load.warm_up * (1 if number else _FIRST)
                    row = _measured(one, place, asked, load._replace(warm_up=warm))
                except (RuntimeError, OSError) as error:
                    reasons[one.name] = str(error)
                    continue
                rows.setdefault(one.name, []).append(row)
                wrong = _wrong(row, load.connections)
                if wrong:
                    invalid[one.name] = wrong
    figures = {
        one.name: _figures(rows[one.name], invalid.get(one.name, ""))
        for one in contenders
        if one.name in rows and one.name not in reasons
    }
    return Measured(figures, rows, reasons)


def _checked(one: Contender, place: Running, check: Check) -> None:
    """Check it, for a while again and again: some listen before they know their routes."""
    until = time.monotonic() + _CHECKED_WITHIN
    while True:
        try:
            check(one, place)
            return
        except (RuntimeError, OSError):
            if time.monotonic() > until:
                raise
        time.sleep(0.2)


def _measured(one: Contender, place: Running, asked: Asked, load: Load) -> Row:
    _, cpu = cpus()
    asked = one.asked or asked
    asked = asked._replace(headers={**asked.headers, **one.headers})
    if load.warm_up:
        ask(asked, place.port, seconds=load.warm_up, connections=load.connections, cpu=cpu)
    counted = _counted(one, place)
    before = used(place.pid)
    seen = ask(asked, place.port, seconds=load.seconds, connections=load.connections, cpu=cpu)
    after = used(place.pid)
    if not seen.requests:
        raise RuntimeError("it answered nothing")
    told = _counted(one, place)
    fresh = {name: count - counted[name] for name, count in told.items()}
    spent, kernel = after.cpu - before.cpu, after.kernel - before.kernel
    return Row(spent, kernel, seen, held(place.pid), fresh)


def _counted(one: Contender, place: Running) -> Mapping[str, int]:
    """Ask what it has counted, until that has come to rest: log lines are written in batches."""
    if one.counts is None:
        return {}
    until = time.monotonic() + _SETTLED_WITHIN
    told = one.counts(place)
    while True:
        time.sleep(_SETTLING)
        again = one.counts(place)
        alike = again == told and len(set(told.values())) == 1
        if alike or time.monotonic() > until:
            return again
        told = again


def _wrong(row: Row, connections: int) -> str:
    """Say what was not counted as often as there were requests.

    The load ends amid one request on each connection: the server has counted those, too.
    """
    told = ", ".join(f"{name} {count}" for name, count in row.counted.items())
    counts = set(row.counted.values())
    if len(counts) > 1:
        return f"not counted alike: {told}"
    if any(not 0 <= count - row.seen.requests <= connections for count in counts):
        return f"{row.seen.requests} answers came, and it counted {told}"
    return ""


def _figures(rows: Sequence[Row], invalid: str) -> Figures:
    return Figures(
        cpu=statistics.median(row.cpu / row.seen.requests for row in rows) * 1e6,
        kernel=statistics.median(row.kernel / row.seen.requests for row in rows) * 1e6,
        rate=statistics.median(row.seen.requests / row.seen.seconds for row in rows),
        p50=statistics.median(row.seen.p50 for row in rows),
        p99=statistics.median(row.seen.p99 for row in rows),
        errors=sum(row.seen.errors for row in rows),
        held_bytes=max(row.held_bytes for row in rows),
        busy=statistics.median(row.cpu / row.seen.seconds for row in rows),
        invalid=invalid,
    )


def shown(measured: Measured) -> dict[str, object]:
    """Return all of it as JSON can hold it, every round by itself."""
    return {
        "figures": {name: one._asdict() for name, one in measured.figures.items()},
        "rounds": {
            name: [{**row._asdict(), "seen": row.seen._asdict()} for row in rows]
            for name, rows in measured.rows.items()
        },
        "missing": measured.reasons,
    }
