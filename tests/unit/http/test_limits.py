"""Rule 26: who is counted as whom, what is counted by which reason, and who gives way."""

import ast
from asyncio import sleep
from pathlib import Path
from typing import Any

import pytest

import switchgear.http
from switchgear.http.connection import Connection
from switchgear.http.events import Turned
from switchgear.http.limits import UNIX, Census, Counters, network_of
from switchgear.http.refusals import CONFIGURED, OTHER, REASONS
from switchgear.http.settings import ServerSettings
from tests.unit.http.wire import Wire, ok, serve

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", False),
        ("64:ff9b::192.0.2.1", "192.0.2.1", True),
        ("64:ff9b::192.0.2.1%eth0", "::ffff:192.0.2.1", True),
        ("64:ff9b:1::192.0.2.1", "64:ff9b:1::192.0.2.2", False),
        ("64:ff9b:1:fffe::192.0.2.1", "64:ff9b:1:fffe:0:0:c000:201", True),
        ("64:ff9b:2::192.0.2.1", "64:ff9b:2::192.0.2.2", True),
        ("64:ff9b:0:0:1::192.0.2.1", "64:ff9b:0:0:1::192.0.2.2", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unix", "unix", True),
        ("no:address", "no:address", True),
    ],
)
def test_an_address_is_counted_by_who_can_have_it(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_a_cap_per_address_and_one_of_all() -> None:
    census = Census(ServerSettings(connections=3, connections_per_address=2), None)
    for _ in range(2):
        assert not census.refuses("2001:db8::1")
        census.take("2001:db8::1")
    assert census.refuses("2001:db8::2") == "address-full"
    assert not census.refuses("192.0.2.1")
    census.take("192.0.2.1")
    assert census.refuses("192.0.2.9") == "server-full"
    census.give("2001:db8::7")
    assert census.of("2001:db8::1") == 1
    assert not census.refuses("2001:db8::2")
    for peer in ("2001:db8::1", "192.0.2.1"):
        census.give(peer)
    assert census.total == 0
    assert census.of("2001:db8::1") == census.of("192.0.2.1") == 0


def test_sessions_are_capped_per_client_too() -> None:
    census = Census(
        ServerSettings(sessions=5, sessions_per_address=2), lambda peer: peer == "192.0.2.1"
    )
    for _ in range(2):
        assert not census.refuses_session("2001:db8::1")
        census.sessions.take("2001:db8::1")
    assert census.refuses_session("2001:db8::2") == "2 sessions of 2001:db8::/64 are open"
    for _ in range(3):
        for several in ("192.0.2.1", UNIX):
            assert not census.refuses_session(several), "a gateway and a proxy are many clients"
        census.sessions.take("192.0.2.1")
    assert census.refuses_session("192.0.2.9") == "5 sessions are open"
    census.sessions.give("2001:db8::1")
    assert not census.refuses_session("2001:db8::2")
    assert (census.total, census.of("192.0.2.1")) == (0, 0)


def test_a_load_balancer_is_not_one_client() -> None:
    census = Census(
        ServerSettings(connections=4, connections_per_address=1), lambda peer: peer == "192.0.2.1"
    )
    for _ in range(4):
        assert not census.refuses("192.0.2.1")
        census.take("192.0.2.1")
    assert census.refuses("192.0.2.1") == "server-full"


def test_strangers_cannot_make_counts_grow() -> None:
    counters = Counters()
    before = set(counters.refusals)
    for number in range(1000):
        counters.refuse(f"x{number}")
    counters.refuse("host")
    assert set(counters.refusals) == before == REASONS | {OTHER}
    assert (counters.refusals[OTHER], counters.refusals["host"]) == (1000, 1)


# What a client's own side refuses of an upstream is no refusal of a server's.
_OF_CLIENTS = {"bodiless", "no-framing", "status-line", "websocket-accept", "websocket-extension",
               "websocket-protocol"}  # fmt: skip
# Those of a handshake that the server's side of it refuses are counted as one.
_OF_UPGRADES = {"websocket", "websocket-key", "websocket-version", "origin"}


def test_every_reason_in_the_source_is_known() -> None:
    written = set()
    for path in Path(switchgear.http.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                at = {"refuse": 0, "refused": 1, "give_up": 0}.get(name)
                if at is not None and isinstance(node.args[at], ast.Constant):
                    written.add(str(ast.literal_eval(node.args[at])))
    assert len(written) > 25
    assert written - _OF_CLIENTS - _OF_UPGRADES <= REASONS


def test_what_a_reason_hangs_on_is_a_setting() -> None:
    assert set(CONFIGURED) <= REASONS
    assert set(CONFIGURED.values()) <= set(ServerSettings.__struct_fields__)


@pytest.mark.virtual
async def test_a_refusal_is_counted_once_and_shown_once() -> None:
    seen: list[Any] = []
    server, connection, wire = serve(ok, ServerSettings(head_timeout=2.0), observer=seen.append)
    connection.data_received(GET[:9])
    await sleep(2.1)
    assert wire.sent.startswith(b"HTTP/1.1 408 ")
    assert seen == [
        Turned("192.0.2.1", 408, "head-timeout", "the head did not arrive in time", 2.0)
    ]
    assert sum(server.counters.refusals.values()) == server.counters.refusals["head-timeout"] == 1
    connection.cut()
    await sleep(0)


@pytest.mark.virtual
async def test_who_goes_on_sending_after_a_refusal_is_cut() -> None:
    seen: list[Any] = []
    server, connection, wire = serve(ok, ServerSettings(linger_bytes=66_000), observer=seen.append)
    connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
    assert wire.sent.startswith(b"HTTP/1.1 400 ")
    for _ in range(3):
        assert not wire.aborted
        connection.data_received(b"x" * 30_000)
    assert wire.aborted
    assert [event.reason for event in seen] == ["host", "still-sending"]
    assert server.counters.refusals["still-sending"] == 1
    await sleep(0)


def _another(server: Any) -> tuple[Connection, Wire]:
    connection = Connection(server)
    wire = Wire(connection)
    connection.connection_made(wire)
    return connection, wire


@pytest.mark.virtual
async def test_near_the_cap_the_longest_idle_give_way() -> None:
    settings = ServerSettings(connections=10, connections_per_address=100)
    server, first, wire = serve(ok, settings)
    wires = [wire]
    first.data_received(GET[:5])  # a head under way is no idleness
    for _ in range(7):
        await sleep(0.2)
        wires.append(_another(server)[1])
    assert not any(wire.closed for wire in wires)  # eight of ten: nobody has to go
    await sleep(0.2)
    wires.append(_another(server)[1])  # the ninth: one in 32, and at least one, goes
    assert [wire.closed for wire in wires] == [False, True, *[False] * 7]
    assert server.counters.made_room == 1
    await sleep(0.2)
    assert server.census.total == 8
    assert sum(server.counters.refusals.values()) == 0
    for connection in tuple(server.connections):
        connection.cut()
    await sleep(0)


@pytest.mark.virtual
async def test_who_is_busy_or_has_just_come_does_not_give_way() -> None:
    settings = ServerSettings(connections=3, connections_per_address=100)
    server, first, wire = serve(ok, settings)
    second, other = _another(server)
    for connection in (first, second):
        connection.data_received(GET[:5])
    await sleep(0.3)
    last = _another(server)[1]
    assert [one.closed for one in (wire, other, last)] == [False] * 3
    assert _another(server)[1].sent.startswith(b"HTTP/1.1 503 ")
    await sleep(0.05)
    assert not last.closed
    await sleep(0.1)  # now it is idle: who comes is refused once more, and the next one is not
    assert _another(server)[1].sent.startswith(b"HTTP/1.1 503 ")
    assert last.closed
    await sleep(0)
    assert not _another(server)[1].sent
    assert server.counters.refusals["server-full"] == 2
    for connection in tuple(server.connections):
        connection.cut()
    await sleep(0)
    assert server.census.total == 0
