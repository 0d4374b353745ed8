"""By the express way a gateway does what it does by the general one: history by history.

The same requests of the same clients go through two gateways built alike, with the same processes
behind them, that answer, hang, break off and come back at the same instants. One takes the express
way where it may, the other never. What clients and processes see, byte for byte, what all gates,
pools and tallies count, and what is logged, is the same.
"""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.gateway.settings import CorsSettings, GatewaySettings, Limit
from switchgear.testing import virtual
from switchgear.testing.virtual import clock
from tests.support.histories import ASKED, ENDS, PLAIN
from tests.support.wired import House, Seen, Wire

KNOWN = {"a" * 32, "b" * 16}  # ids that the clients have given

EVENTS = {
    "lag": lambda house: [house.shedder.observe_lag(9.0, clock()) for _ in range(3)],
    "spry": lambda house: [house.shedder.observe_lag(0.0, clock()) for _ in range(30)],
    "one away": lambda house: house.update(routable="2"),
    "both away": lambda house: house.update(routable=""),
    "only one": lambda house: house.update(names="1"),
    "none": lambda house: house.update(names=""),
    "all": lambda house: house.update(),
    "anew": lambda house: house.update(generation=2),
    "down": lambda house: house.down.update(("service-1", "service-2")),
    "up": lambda house: house.down.clear(),
    "unsigned": lambda house: setattr(house, "signs", False),
    "signed": lambda house: setattr(house, "signs", True),
}
SETTINGS = {
    "usual": GatewaySettings(),
    "narrow": GatewaySettings(endpoint_permits=1),
    "limited": GatewaySettings(address=Limit(1, 4), principal=Limit(1, 2)),
    "shared": GatewaySettings(origins=("https://b",), cors=CorsSettings(credentials=True)),
    "brief": GatewaySettings(attempt_timeout=0.71, attempts=2, principal=Limit(1, 3)),
}


@dataclass(frozen=True)
class Ask:
    """One request: at which slot, of which client, what the processes do, when it is left."""

    slot: int
    what: str = "open"
    ends: tuple[str, ...] = ("well",)
    client: int = 0
    leaves: float | None = None


@dataclass(frozen=True)
class Event:
    """What happens beside the requests."""

    slot: int
    what: str


History = list[Ask | Event]
asks = st.builds(
    Ask,
    st.integers(0, 40),
    st.sampled_from([*PLAIN * 2, *ASKED]),
    st.lists(st.sampled_from(["well", "well", "soon", *ENDS]), min_size=1, max_size=3).map(tuple),
    st.integers(0, 3),
    st.sampled_from([None, None, None, None, 0.0, 0.0017, 0.0131, 0.0231, 0.5173, 1.1171]),
)
events = st.builds(
    Event, st.integers(0, 40), st.sampled_from(sorted(EVENTS.keys() - {"unsigned", "signed"}))
)
SLOT, STEP = 0.4, 0.02  # seconds


def often(ask: Ask, count: int, step: int) -> History:
    """Ask so many times, every so many slots; those of one slot by clients of their own."""
    return [
        replace(ask, slot=ask.slot + step * n, client=ask.client + (0 if step else 100 * n))
        for n in range(count)
    ]


series = st.builds(often, asks, st.sampled_from([1, 1, 1, 2, 3, 6]), st.integers(0, 3))
histories = st.lists(st.one_of(series, series, series, events.map(lambda one: [one])),
                     min_size=1, max_size=8).map(lambda many: [*chain(*many)])  # fmt: skip


class Told:
    """One telling of a history."""

    def __init__(self, history: History, config: str, *, express: bool) -> None:
        self.history = history
        self.house = House(express=express, settings=SETTINGS[config], serve=self._serve)
        self.clients: dict[int, Wire] = {}
        self.got: dict[int, list[tuple[float, bytes]]] = {}
        self.tries: Counter[str] = Counter()
        self.asks: dict[str, Ask] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.seen: list[Any] = []

    async def tell(self) -> tuple[Any, int]:
        loop = asyncio.get_running_loop()
        # All processes have a connection at hand, and all tokens but one are known.
        warm: History = [Ask(0, "open", ("soon",), 8 + n) for n in range(4)]
        warm += [Ask(0, "mine", ("soon",), 12), Ask(0, "write", ("soon",), 13)]
        last = 0.0
        for number, act in enumerate([*warm, *self.history]):
            at = STEP * (number % 20) + 0.0003 * number
            at += SLOT * (act.slot + 2) if number >= len(warm) else 0.0
            last = max(last, at)
            loop.call_later(at, self._act, number, act)
        house = self.house
        until = virtual.START + last + 2.0
        while clock() < until or any(one.exchange for one in house.server.connections):
            await asyncio.sleep(0.1903)
            self.seen.append(house.figures())
            assert clock() < until + 60.0, "every exchange comes to an end"
        self.seen += house.at_rest()
        await house.close()
        told = [self.seen, self.got, house.seen, house.events]
        await asyncio.gather(*self.tasks)
        return told, house.swift

    def _act(self, number: int, act: Ask | Event) -> None:
        if isinstance(act, Event):
            EVENTS[act.what](self.house)  # type: ignore[no-untyped-call]  # lambdas
            return
        self.asks[str(number)] = act
        wire = self.clients.get(act.client)
        if wire is None or wire.closed:
            got = self.got.setdefault(number, [])
            # What is written at one instant is one piece, however many calls wrote it.
            wire = self.house.client(lambda _, data: got.append((clock(), data)))
            self.clients[act.client] = wire
        method, path, lines, body = ASKED[act.what]
        minor = 0 if act.what == "old" else 1
        fields = ["host: a", *lines]
        pieces = body if isinstance(body, list) else [body]
        if body and not isinstance(body, list):
            fields.append(f"content-length: {len(body)}")
        head = "\r\n".join([f"{method} {path}?n={number} HTTP/1.{minor}", *fields, "", ""])
        wire.bring(head.encode("latin-1") + pieces[0])
        loop = asyncio.get_running_loop()
        for place, piece in enumerate(pieces[1:], 1):
            loop.call_later(0.0057 * place, wire.bring, piece)
        if act.leaves is not None:
            loop.call_later(act.leaves, wire.leave)

    def _serve(self, wire: Wire, seen: Seen) -> None:
        ends = self.asks[seen.number].ends
        end = ends[min(self.tries[seen.number], len(ends) - 1)]
        self.tries[seen.number] += 1
        task = asyncio.get_running_loop().create_task(self._do(wire, end))
        self.tasks.add(task)

    @staticmethod
    async def _do(wire: Wire, end: str) -> None:
        for part in ENDS[end]:
            if isinstance(part, float):
                await asyncio.sleep(part)
            elif isinstance(part, bytes):
                wire.bring(part)
            elif isinstance(part, str):
                wire.end()
            else:
                wire.leave(part)


def joined(pieces: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    """Join what was written at one instant."""
    found: dict[float, bytes] = {}
    for at, data in pieces:
        found[at] = found.get(at, b"") + data
    return list(found.items())


_ID = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{32}|[0-9a-f]{16})(?![0-9a-f])")


def nameless(told: Any) -> str:
    """Write what was told with ids by the order of their appearance."""
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        given = found[0]
        return given if given in KNOWN else names.setdefault(given, f"<id {len(names)}>")

    return _ID.sub(name, told if isinstance(told, str) else "\n".join(map(repr, told)))


def told(history: History, config: str, *, express: bool) -> tuple[list[str], int]:
    """Tell a history; return what there is to compare, line by line, and how often it went fast."""

    async def tell() -> tuple[Any, int]:
        return await Told(history, config, express=express).tell()

    (seen, got, asked, logged), swift = virtual.run(tell())
    lines = [*seen, *((n, joined(pieces)) for n, pieces in got.items()), *asked, *logged]
    return nameless(lines).split("\n"), swift


def alike(history: History, config: str = "usual") -> int:
    """See that both ways tell a history alike; return how often the express way was taken."""
    swiftly, taken = told(history, config, express=True)
    plainly, none = told(history, config, express=False)
    assert none == 0
    assert swiftly == plainly
    return taken


WARM = 2  # of the requests before a history, those that find a token known and a connection free


@settings(max_examples=120, deadline=None)
@given(histories, st.sampled_from(sorted(SETTINGS)))
def test_both_ways_are_the_same(history: History, config: str) -> None:
    alike(history, config)


AMISS: dict[str, tuple[History, str]] = {
    "breakers open": ([*often(Ask(0, ends=("broken",)), 6, 1), *often(Ask(20), 8, 2)], "brief"),
    "it hangs": ([*often(Ask(0, ends=("hang",)), 6, 0), *often(Ask(15), 6, 3)], "brief"),
    "all are slow": (often(Ask(0, "post", ("slow",), 1), 14, 0), "usual"),
    "the budget is spent": (often(Ask(0, ends=("sealed", "well")), 12, 0), "usual"),
    "no room": (often(Ask(0, "mine", ("hang", "soon")), 5, 0), "narrow"),
    "it lags": ([Event(0, "lag"), Ask(0, "write"), Ask(1), Event(2, "spry"), Ask(3)], "usual"),
    "nobody listens": (
        [Event(0, "down"), *often(Ask(0, ends=("ended",)), 3, 1), Event(4, "up"), Ask(5)],
        "usual",
    ),
    "started anew": ([Ask(0, ends=("hang",)), Event(1, "anew"), Ask(2), Ask(3)], "usual"),
    "none is left": ([Ask(0, ends=("hang",)), Event(0, "none"), Ask(2), Event(3, "all")], "usual"),
    "one is new": ([Event(0, "only one"), Ask(1), Event(30, "all"), Ask(31), Ask(32)], "usual"),
    "none beats": ([Event(0, "both away"), Ask(1), Event(2, "one away"), Ask(3)], "usual"),
    "over a principal's limit": (often(Ask(0, "mine"), 5, 0), "brief"),
    "over all limits": ([*often(Ask(0, "mine"), 5, 0), *often(Ask(1), 9, 0)], "limited"),
    "a token, over the address limit alone": (
        [Ask(at, "mine", ("well",)) for at in range(3)],
        "limited",
    ),
    "without scope, over the limits": (often(Ask(0, "no scope"), 5, 0), "limited"),
}


@pytest.mark.parametrize("amiss", AMISS)
def test_where_something_is_amiss_both_ways_are_the_same(amiss: str) -> None:
    history, config = AMISS[amiss]
    assert alike(history, config) >= WARM


@pytest.mark.parametrize("config", ["usual", "narrow", "shared"])
@pytest.mark.parametrize("what", ["open", "post", "mine", "write", "put"])
def test_many_whose_time_is_over_at_once_are_cut_in_the_same_order(what: str, config: str) -> None:
    """More than a slot has steps, so that some are a few milliseconds apart."""
    assert alike([Ask(0, what, ("hang",), n) for n in range(44)], config) > WARM


@pytest.mark.parametrize("config", ["usual", "shared"])
@pytest.mark.parametrize("what", ASKED)
def test_whatever_is_asked_both_ways_are_the_same(what: str, config: str) -> None:
    """Two of a kind on one connection, so that what was noted of the first serves the second."""
    end = ("nothing",) if what == "head" else ("soon",)
    taken = alike([Ask(0, what, end), Ask(1, what, end), Ask(2, what, end, 1), Ask(3)], config)
    assert taken == WARM + (4 if what in PLAIN else 1)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("what", ["open", "post", "mine", "keyed"])
def test_whatever_comes_of_it_both_ways_are_the_same(what: str, end: str) -> None:
    asked = [Ask(0, what, (end,)), Ask(4, what, (end, "well")), Ask(8, what, ("soon", end))]
    assert alike([*asked, Ask(12)]) > WARM


@pytest.mark.parametrize("express", [True, False])
def test_an_early_hint_goes_on_by_both_ways(express: bool) -> None:
    lines, taken = told(
        [Ask(0, "mine", ("hint",)), Ask(2, "old", ("hint",), 1)], "usual", express=express
    )
    mine, old = (next(line for line in lines if line.startswith(f"({n}, [")) for n in (6, 7))
    hint = r"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"
    assert mine.count(hint) == mine.count("HTTP/1.1 200 OK") == 1
    assert mine.index(hint) < mine.index("HTTP/1.1 200 OK")
    assert "103" not in old
    assert "HTTP/1.1 200 OK" in old
    assert taken == (WARM + 2 if express else 0)


@pytest.mark.parametrize("express", [True, False])
def test_a_defect_of_ours_is_answered_and_reported(express: bool) -> None:
    """No more is promised of it: what has been asked before may not be counted by the gates."""
    history: History = [Event(0, "unsigned"), Ask(1), Event(2, "signed"), Ask(3)]
    lines, taken = told(history, "usual", express=express)
    (answers,) = [line for line in lines if line.startswith("(7, [")]
    assert answers.count("HTTP/1.1 500 ") == answers.count("HTTP/1.1 200 ") == 1
    assert lines.count(repr(repr(ZeroDivisionError("a defect of what signs")))) == 1
    assert taken == (WARM + 1 if express else 0)


def test_what_may_not_be_sent_twice_goes_by_no_connection_that_has_ended() -> None:
    """Rule 27: what may, is sent again; for what may not, the kernel is asked first."""
    ended = [Ask(n, "open", ("unseen end",), n) for n in (0, 1)]
    for what in ("open", "post", "mine", "write", "put", "keyed"):
        assert alike([*ended, *often(Ask(3, what), 3, 0)]) > WARM + 2


@pytest.mark.parametrize("leaves", [0.0, 0.0017, 0.0131, 0.5173, 1.1171])
@pytest.mark.parametrize("end", ["soon", "hang", "streamed", "stream hangs", "sealed", "ended"])
def test_whenever_the_client_leaves_both_ways_are_the_same(end: str, leaves: float) -> None:
    asked = [Ask(0, what, (end,), n, leaves) for n, what in enumerate(["open", "post", "mine"])]
    assert alike([*asked, Ask(4), Ask(5, "post")]) >= WARM + 3


@pytest.mark.parametrize("end", ["well", "shares", "varies"])
def test_where_pages_may_read_both_ways_say_so_alike(end: str) -> None:
    asked: History = [
        Ask(n, what, (end,)) for n, what in enumerate(["open", "page", "post", "own page"])
    ]
    assert alike(asked, "shared") == WARM + 3


def test_where_nothing_is_amiss_the_express_way_is_taken() -> None:
    history = [ask for n, what in enumerate(PLAIN) for ask in often(Ask(n, what), 5, 14)]
    assert alike(history) == WARM + len(history)
