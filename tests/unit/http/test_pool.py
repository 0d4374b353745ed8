"""A pool's bounds, and what ends its connections, in virtual time and without a network."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from switchgear.http.dial import _race
from switchgear.http.message import Request
from switchgear.http.pool import Pool
from switchgear.http.refusals import reason_of, status_of
from switchgear.http.room import Room
from switchgear.http.settings import ClientSettings
from switchgear.http.stream import Produced
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.testing.virtual import clock
from tests.unit.http.wire import Wire, dials, wired, wires

pytestmark = pytest.mark.virtual

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SOON = 0.05  # more than a tick of the sweep


def ask(
    method: str = "GET", within: float = 3.0, *, body: bytes = b"", repeatable: bool = False
) -> Call[Request]:
    return Call(Request.of(method, "/", body=body), clock() + within, repeatable=repeatable)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def begun(pool: Pool, call: Call[Request] | None = None) -> tuple[Any, Wire]:
    """Send a request; return the asking task and the wire that it went out on."""
    before = {wire: len(wire.sent) for wire in wires(pool)}
    task = asyncio.ensure_future(pool(call or ask()))
    await turns()
    (wire,) = [one for one in wires(pool) if len(one.sent) > before.get(one, 0)]
    return task, wire


async def done(pool: Pool, answer: bytes = EMPTY) -> Wire:
    """Ask and be answered."""
    task, wire = await begun(pool)
    wire.protocol.data_received(answer)
    await task
    return wire


async def closed(pool: Pool) -> None:
    await pool.close()
    await turns()
    told = pool.statistics()
    assert (told["open"], told["idle"], told["in_use"], told["dialling"]) == (0, 0, 0, 0)


async def test_a_connection_ends_with_its_lifetime_however_much_it_is_used() -> None:
    pool = wired(ClientSettings(lifetime=100.0))
    born = clock()
    wire = await done(pool)
    while not wire.closed:
        await asyncio.sleep(1.0)
        await done(pool)
    assert 80 <= clock() - born <= 101
    assert pool.counters.retired == {"lifetime": 1}
    assert await done(pool) is not wire
    await closed(pool)


async def test_an_idle_connection_ends_with_its_lifetime_too() -> None:
    pool = wired(ClientSettings(lifetime=10.0, idle_timeout=1000.0))
    wire = await done(pool)
    await asyncio.sleep(7.9)
    assert not wire.closed
    await asyncio.sleep(1000)
    assert wire.closed
    assert pool.counters.retired == {"lifetime": 1}


async def test_a_connection_that_outlived_its_time_at_work_is_not_kept() -> None:
    pool = wired(ClientSettings(lifetime=1.0))
    task, wire = await begun(pool)
    await asyncio.sleep(2.0)
    wire.protocol.data_received(EMPTY)
    assert wire.closed
    assert (await task).status == 200
    assert pool.counters.retired == {"lifetime": 1}
    await closed(pool)


async def test_connections_made_together_do_not_end_together() -> None:
    pool = wired(ClientSettings(lifetime=100.0))
    ends = sorted(pool.lifetime() for _ in range(50))
    assert 80 <= ends[0] < 82
    assert 98 < ends[-1] <= 100
    assert max(later - one for one, later in pairwise(ends)) < 1.2
    assert min(later - one for one, later in pairwise(ends)) > 0.1


async def test_a_connection_may_be_used_so_often_and_no_more() -> None:
    pool = wired(ClientSettings(uses=2))
    wires = [await done(pool) for _ in range(5)]
    assert [wires.index(wire) for wire in wires] == [0, 0, 2, 2, 4]
    assert pool.counters.retired == {"uses": 2}
    assert pool.counters.connects == 3
    await closed(pool)


async def test_what_is_refused_is_typed_and_counted_by_its_reason() -> None:
    pool = wired(ClientSettings(connections=2), Room(2))
    other = wired(room=pool._room)
    first, _ = await begun(pool)
    second, _ = await begun(pool)
    for asked, detail in ((pool, "all 2 connections"), (other, "of the process")):
        with pytest.raises(Fault, match=detail) as caught:
            await asked(ask())
        assert caught.value.refusal is Refusal.FULL
        assert caught.value.effect is Effect.NONE
    assert pool.statistics()["refused"] == {"full": 1}
    assert other.statistics()["refused"] == {"full in all": 1}
    first.cancel()
    second.cancel()
    await turns()
    await closed(pool)
    with pytest.raises(Fault) as caught:
        await pool(ask())
    assert caught.value.refusal is Refusal.DRAINING
    assert caught.value.effect is Effect.NONE
    assert pool.statistics()["refused"] == {"full": 1, "closed": 1}
    await closed(other)


async def test_a_full_room_takes_the_place_of_who_has_been_idle_the_longest() -> None:
    room = Room(3)
    pools = [wired(room=room) for _ in range(3)]
    wires = []
    for pool in (pools[1], pools[0], pools[2]):
        wires.append(await done(pool))
        await asyncio.sleep(1)
    fourth = wired(room=room)
    await done(fourth)
    assert [wire.closed for wire in wires] == [True, False, False]
    assert pools[1].counters.retired == {"evicted": 1}
    await done(pools[1])
    assert [wire.closed for wire in wires] == [True, True, False]
    assert room.statistics() == {"connections": 3, "taken": 3, "refused": 0, "evicted": 2}
    for pool in (*pools, fourth):
        await closed(pool)
    assert room.taken == 0


async def test_places_come_back_whatever_ended_the_connection() -> None:
    room = Room(10)
    pool = wired(ClientSettings(uses=1), room)
    await done(pool)
    asked, _ = await begun(pool)
    asked.cancel()
    asked, wire = await begun(pool)
    wire.protocol.data_received(b"nonsense")
    with pytest.raises(Fault):
        await asked
    asked, wire = await begun(pool)
    wire.close()
    with pytest.raises(Fault):
        await asked
    asked, _ = await begun(pool, ask(within=1.0))
    with pytest.raises(Fault):
        await asked
    dials(pool).down = True
    with pytest.raises(Fault) as caught:
        await pool(ask())
    assert caught.value.effect is Effect.NONE
    assert room.taken == 0
    assert pool.counters.failures == 1
    assert pool.counters.retired == {
        "uses": 1, "left": 1, "poisoned": 1, "unanswered": 1, "overdue": 1
    }  # fmt: skip
    await closed(pool)


async def test_an_answer_that_comes_as_its_caller_leaves_poisons_nothing() -> None:
    pool = wired()
    task, wire = await begun(pool)
    task.cancel()
    wire.protocol.data_received(EMPTY)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.aborted
    assert pool.counters.retired == {"left": 1}
    assert pool.counters.poisoned == 0
    await closed(pool)


@pytest.mark.parametrize("how", ["the pool is open", "the pool was closed", "it was lost"])
async def test_a_connection_whose_caller_was_called_off_as_it_stood_is_nobody_elses(
    how: str,
) -> None:
    """It was given to the caller, who had not woken yet."""
    room = Room(10)
    pool = wired(ClientSettings(connections=1), room)
    task = asyncio.ensure_future(pool(ask()))
    while not pool.counters.connects:
        await asyncio.sleep(0)
    task.cancel()
    if how == "the pool was closed":
        pool._closed = True
    elif how == "it was lost":
        wires(pool)[0].protocol.connection_lost(None)
    with pytest.raises(asyncio.CancelledError):
        await task
    kept = how == "the pool is open"
    assert (pool.statistics()["idle"], room.taken) == (kept, kept)
    if kept:
        assert await done(pool) is wires(pool)[0]
    await closed(pool)
    assert room.taken == 0


async def test_statistics_tell_where_every_connection_is() -> None:
    pool = wired()
    pool.name = "upstream"
    idle = [(await begun(pool)) for _ in range(2)]
    for task, wire in idle:
        wire.protocol.data_received(EMPTY)
        await task
    busy, _ = await begun(pool)
    assert pool.statistics() == {
        "name": "upstream",
        "open": 2,
        "idle": 1,
        "in_use": 1,
        "dialling": 0,
        "connects": 2,
        "failures": 0,
        "poisoned": 0,
        "requests": 3,
        "stale": 0,
        "refused": {},
        "retired": {},
    }
    busy.cancel()
    await turns()
    await closed(pool)
    assert pool.statistics()["retired"] == {"left": 1, "closed": 1}


async def test_a_kept_connection_that_hangs_is_no_dead_one() -> None:
    """It was sent, and may have had its effect: the deadline is no reason to send it once more."""
    pool = wired()
    await done(pool)
    task, _ = await begun(pool, ask(repeatable=True))
    with pytest.raises(Fault) as caught:
        await task
    assert (caught.value.code, caught.value.effect) == (Code.DEADLINE_EXCEEDED, Effect.UNKNOWN)
    assert pool.counters.stale == 0
    assert len(wires(pool)) == 1
    await closed(pool)


async def test_who_speaks_before_it_is_asked_is_asked_nothing() -> None:
    pool = wired(greeting=b"220 mail.test ESMTP\r\n")
    with pytest.raises(Fault) as caught:
        await pool(ask())
    assert caught.value.effect is Effect.NONE
    assert wires(pool)[0].sent == b""
    assert pool.counters.poisoned == 1
    await closed(pool)


async def test_an_upstream_that_takes_nothing_of_a_request_is_hung() -> None:
    pool = wired(ClientSettings(write_timeout=10.0))
    task, wire = await begun(pool, ask("PUT", 100.0, body=b"x" * 1_000_000))
    wire.block(500_000)
    await asyncio.sleep(9.9)
    assert not task.done()
    await asyncio.sleep(0.1 + SOON)
    with pytest.raises(Fault, match="read nothing") as caught:
        await task
    assert status_of(caught.value) == 502
    assert wire.aborted
    await closed(pool)


async def answered_early(pool: Pool, task: Any, wire: Wire, unsent: int) -> None:
    """Answer a request of which so much is still unsent: its connection is kept if nothing is."""
    wire.unsent = unsent
    wire.protocol.data_received(EMPTY)
    assert (await task).status == 200
    assert wire.closed is bool(unsent)
    assert pool.counters.retired == ({"unfinished": 1} if unsent else {})
    wire.unsent = 0


@pytest.mark.parametrize("unsent", [0, 1])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_rest_so_small_that_nobody_was_asked_to_wait_ends_the_connection_too(
    unsent: int, streamed: bool
) -> None:
    pool = wired()

    async def produced() -> AsyncIterator[bytes]:
        yield b"x" * 5_000

    body: Any = Produced(produced(), 5_000) if streamed else b"x" * 5_000
    task, wire = await begun(pool, Call(Request.of("PUT", "/", body=body), clock() + 3.0))
    await answered_early(pool, task, wire, unsent)
    await closed(pool)


async def test_an_upstream_that_never_takes_the_rest_is_not_waited_for_for_ever() -> None:
    """It has answered, and reads no more: nobody but us can end the connection."""
    pool = wired(ClientSettings(idle_timeout=10.0))
    task, wire = await begun(pool, ask("PUT", body=b"x" * 1_000_000))
    wire.unsent = 100
    wire.protocol.data_received(EMPTY)
    assert (await task).status == 200
    assert wire.closed
    await asyncio.sleep(9.9)
    assert not wire.aborted
    await asyncio.sleep(0.1 + SOON)
    assert wire.aborted
    await turns()
    assert pool.sweep.armed == 0
    await closed(pool)


@pytest.mark.parametrize("unsent", [0, 1])
async def test_a_whole_request_that_was_answered_before_it_was_all_sent_ends_its_connection(
    unsent: int,
) -> None:
    pool = wired()
    task, wire = await begun(pool, ask("PUT", body=b"x" * 1_000_000))
    wire.block(500_000)
    await answered_early(pool, task, wire, unsent)
    wire.protocol.resume_writing()
    await closed(pool)


@pytest.mark.parametrize("start", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/2 200\r\n", b"H\n", b"\r\n"])
async def test_what_can_never_become_an_answer_is_not_waited_for(start: bytes) -> None:
    pool = wired()
    task, wire = await begun(pool)
    wire.protocol.data_received(start)
    await turns()
    assert task.done()
    assert reason_of(task.exception()) in ("status-line", "line-break")
    await closed(pool)


ODD = [
    ("204 with a length", b"HTTP/1.1 204 A\r\nContent-Length: 2\r\n\r\n", "GET", "bodiless"),
    ("204 with a coding", b"HTTP/1.1 204 A\r\nTransfer-Encoding: chunked\r\n\r\n", "GET",
     "bodiless"),
    ("103 with a length", b"HTTP/1.1 103 A\r\nContent-Length: 2\r\n\r\n" + EMPTY, "GET",
     "bodiless"),
    ("no framing", b"HTTP/1.1 200 A\r\n\r\nbody", "GET", "no-framing"),
    ("a coding in 1.0", b"HTTP/1.0 200 A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET",
     "transfer-encoding"),
    ("length and coding to HEAD",
     b"HTTP/1.1 200 A\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD",
     "transfer-encoding"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wire", "method", "reason"), [pytest.param(w, m, r, id=n) for n, w, m, r in ODD]
)
async def test_an_answer_whose_framing_can_be_read_in_two_ways_is_a_fault(
    wire: bytes, method: str, reason: str
) -> None:
    """Source: RFC 9112 section 6."""
    pool = wired()
    task, upstream = await begun(pool, ask(method))
    upstream.protocol.data_received(wire)
    with pytest.raises(Fault) as caught:
        await task
    assert reason_of(caught.value) == reason
    assert upstream.aborted
    await closed(pool)


BARE = [
    ("204", b"HTTP/1.1 204 A\r\n\r\n", "GET", 204),
    ("204 that says 0", b"HTTP/1.1 204 A\r\nContent-Length: 0\r\n\r\n", "DELETE", 204),
    ("304 with the length of another", b"HTTP/1.1 304 A\r\nContent-Length: 90\r\n\r\n", "GET", 304),
    ("HEAD", b"HTTP/1.1 200 A\r\nContent-Length: 90\r\n\r\n", "HEAD", 200),
    ("HEAD, chunked", b"HTTP/1.1 200 A\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", 200),
    ("HEAD without a word", b"HTTP/1.1 200 A\r\n\r\n", "HEAD", 200),
    ("after hints", b"HTTP/1.1 103 A\r\nLink: </a>\r\n\r\n" * 7 + EMPTY, "GET", 200),
]


@pytest.mark.parametrize(
    ("wire", "method", "status"), [pytest.param(w, m, s, id=n) for n, w, m, s in BARE]
)
async def test_an_answer_without_a_body_leaves_its_connection_usable(
    wire: bytes, method: str, status: int
) -> None:
    pool = wired()
    task, upstream = await begun(pool, ask(method))
    upstream.protocol.data_received(wire)
    answer = await task
    assert (answer.status, answer.body) == (status, b"")
    assert await done(pool) is upstream
    await closed(pool)


async def test_a_tunnel_is_not_asked_for() -> None:
    pool = wired()
    with pytest.raises(ValueError, match="cannot be sent"):
        await pool(ask("CONNECT"))
    await closed(pool)


@pytest.mark.pure
async def test_of_two_connections_that_stand_in_the_same_moment_one_is_given_up() -> None:
    pool = wired()
    go = asyncio.Event()

    async def attempt() -> Any:
        await go.wait()
        return await pool.dial()

    racing = asyncio.ensure_future(_race([attempt, attempt], 0.1))
    await asyncio.sleep(0.5)
    go.set()
    won = await racing
    await turns()
    assert len(wires(pool)) == 2
    assert [wire.aborted for wire in wires(pool)] == [
        won is not wire.protocol for wire in wires(pool)
    ]


@pytest.mark.pure
async def test_what_has_won_waits_for_no_attempt_that_was_given_up() -> None:
    """Called off while it waited, it would be a connection that nobody has, nor ever closes."""
    pool = wired()

    async def wins() -> Any:
        return await pool.dial()

    async def lingers() -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1)

    racing = asyncio.ensure_future(_race([lingers, wins], 0.1))
    await asyncio.sleep(0.15)
    racing.cancel()
    (won,) = await asyncio.gather(racing, return_exceptions=True)
    assert won is wires(pool)[0].protocol
    await asyncio.sleep(2)


async def test_a_dial_that_was_called_off_before_it_began_leaves_nothing() -> None:
    """A task that is cancelled before its first step runs nothing of what it was to end by."""
    room = Room(1)
    pool = wired(room=room)
    asking = asyncio.ensure_future(pool(ask()))
    await asyncio.sleep(0)
    assert pool.statistics()["dialling"] == 1
    await closed(pool)
    with pytest.raises(Fault) as caught:
        await asking
    assert (caught.value.refusal, caught.value.effect) == (Refusal.DRAINING, Effect.NONE)
    assert room.taken == 0


@pytest.mark.parametrize("leaves", [False, True])
async def test_the_defect_of_a_dialler_is_told_as_one(leaves: bool) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    room, go = Room(1), asyncio.Event()

    async def broken(_: Pool) -> Any:
        await go.wait()
        raise TypeError("not a word of the network")

    pool = Pool("upstream.test", 80, clock=clock, room=room, dialler=broken)
    asking = asyncio.ensure_future(pool(ask()))
    await turns()
    if leaves:
        asking.cancel()
        await turns()
    go.set()
    await turns()
    with pytest.raises(asyncio.CancelledError if leaves else TypeError):
        await asking
    await closed(pool)
    assert room.taken == 0
    assert [str(one["exception"]) for one in told] == leaves * ["not a word of the network"]


@pytest.mark.parametrize("how", ["bytes", "an end"])
async def test_what_comes_before_the_request_has_left_does_not_answer_it(how: str) -> None:
    """A kept connection was spoilt: what was asked of it meanwhile is asked of another."""
    pool = wired()
    await done(pool)
    task = asyncio.ensure_future(pool(ask("GET", repeatable=True)))
    await take_up(pool)
    kept = spoilt(pool, how)
    await turns()
    assert not task.done()
    assert len(wires(pool)) == 2
    wires(pool)[1].protocol.data_received(EMPTY)
    assert (await task).status == 200
    assert kept.sent.count(b"GET") == 1, "it was taken back"
    assert pool.counters.poisoned == (how == "bytes")
    await closed(pool)


@pytest.mark.parametrize("how", ["bytes", "an end"])
async def test_it_had_no_effect_either(how: str) -> None:
    pool = wired()
    await done(pool)
    task = asyncio.ensure_future(pool(ask("POST", body=b"x")))
    await take_up(pool)
    kept = spoilt(pool, how)
    with pytest.raises(Fault) as caught:
        await task
    assert caught.value.effect is Effect.NONE
    assert kept.sent.count(b"POST") == 0
    await closed(pool)


async def test_what_was_called_off_before_it_has_left_is_not_begun() -> None:
    pool = wired()
    await done(pool)
    task = asyncio.ensure_future(pool(ask("POST", body=b"x")))
    await take_up(pool)
    (connection,) = pool._open
    connection.fail(RuntimeError("called off"))
    with pytest.raises(RuntimeError, match="called off"):
        await task
    assert wires(pool)[0].sent.count(b"POST") == 0
    await closed(pool)


async def test_an_answer_may_come_while_a_piece_of_the_body_is_on_its_way() -> None:
    """Who refuses a request by its head need not wait for the rest of it."""
    pool = wired()
    pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def produced() -> AsyncIterator[bytes]:
        while True:
            yield await pieces.get()

    request = Request.of("POST", "/", body=Produced(produced()))
    task, wire = await begun(pool, Call(request, clock() + 3.0))
    pieces.put_nowait(b"piece")
    await take_up(pool)
    wire.protocol.data_received(b"HTTP/1.1 415 Unsupported Media Type\r\nContent-Length: 0\r\n\r\n")
    assert (await task).status == 415
    assert pool.counters.poisoned == 0
    await closed(pool)


@pytest.mark.parametrize("left", [True, False], ids=["its head has left", "nothing has left"])
async def test_nobody_says_that_a_body_that_was_begun_had_no_effect(left: bool) -> None:
    """Pieces of it are used up: who sent it again would send another one."""
    pool = wired()
    await done(pool)
    pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def produced() -> AsyncIterator[bytes]:
        while True:
            yield await pieces.get()

    request = Request.of("POST", "/", body=Produced(produced()))
    task = asyncio.ensure_future(pool(Call(request, clock() + 3.0)))
    if left:
        await turns()
    pieces.put_nowait(b"piece")
    await take_up(pool)
    spoilt(pool, "an end")
    with pytest.raises(Fault) as caught:
        await task
    assert caught.value.effect is Effect.UNKNOWN
    await closed(pool)


def spoilt(pool: Pool, how: str) -> Wire:
    """Have the first connection end, or bring bytes that nobody asked for."""
    kept = wires(pool)[0]
    if how == "bytes":
        kept.protocol.data_received(EMPTY)
    else:
        kept.protocol.connection_lost(None)
    return kept


async def take_up(pool: Pool) -> None:
    """Let a request be written, and not leave."""
    (connection,) = pool._open
    while not connection.transport.held:
        await asyncio.sleep(0)
