"""Lanes: what is learnt of one route at one process, and what is tried again, and where."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from switchgear.gateway.lasting import HELD
from switchgear.gateway.patience import attempts_of, given_up, plan_of
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.http.message import Request, Response, StreamResponse
from switchgear.http.stream import Stream
from switchgear.policy.breaker import State
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import Ask
from switchgear.policy.lint import lint
from switchgear.policy.verdict import GOOD
from switchgear.testing import advance
from switchgear.testing.virtual import clock
from tests.support.gateway import House, answer, failing, hang, public, said

pytestmark = pytest.mark.virtual

BROKEN = failing(Fault(Code.INTERNAL, "a defect"))
UNDER_WAY = failing(Fault(Code.ABORTED, "under way", effect=Effect.NONE, retry_after=0.5))
AWAY = failing(Fault(Code.UNAVAILABLE, "not here"))


def house(serving: dict[str, Any], *routes: RouteEntry, **fields: Any) -> House:
    return House(routes or (public("GET"), public("POST"), public("PUT")), serving, **fields)


def state(doors: House, route: str, process: str = "") -> str:
    told = doors.upstream.statistics()["routes"][route]
    gate = told["endpoints"][process] if process else told["breaker"]
    return str(gate["state"])


def once_then(first: Any, then: Any = answer) -> Any:
    """Serve the first request in one way, and every other in another."""
    served = 0

    async def serve(call: Call[Request]) -> Response:
        nonlocal served
        served += 1
        response: Response = await (first if served == 1 else then)(call)
        return response

    return serve


async def cut(call: Call[Request]) -> Response:
    """Be cut after the request was sent: nobody knows what became of it."""
    raise Fault(Code.UNAVAILABLE, "cut", effect=Effect.UNKNOWN, origin="service-1")


async def unreached(call: Call[Request]) -> Response:
    raise Fault(Code.UNAVAILABLE, "no connection", effect=Effect.NONE, origin="service-1")


# What is tried again


async def test_what_is_repeatable_is_tried_again_at_another_process() -> None:
    for method in ("GET", "PUT"):
        doors = house({"service-1": AWAY, "service-2": answer})
        assert (await doors.ask(method, "/a")).status == 200
        assert doors.names() == ["service-1", "service-2"]
        assert doors.sent[1][1].attempt == 2


async def test_a_post_whose_effect_is_unknown_is_never_sent_twice() -> None:
    for ending in (AWAY, cut, BROKEN):
        doors = house({"service-1": ending, "service-2": answer})
        assert (await doors.ask("POST", "/a", body=b"{}")).status >= 500
        assert doors.names() == ["service-1"]


async def test_a_post_that_surely_did_nothing_is_sent_to_another() -> None:
    doors = house({"service-1": unreached, "service-2": answer})
    assert (await doors.ask("POST", "/a", body=b"{}")).status == 200
    assert doors.names() == ["service-1", "service-2"]


KEYED = {"idempotency-key": "7"}


async def test_a_post_with_a_key_is_tried_again_where_its_service_heeds_keys() -> None:
    for ending in (AWAY, cut, UNDER_WAY):
        doors = house({"service-1": ending, "service-2": answer}, public("POST", keyed=True))
        assert (await doors.ask("POST", "/a", KEYED, b"{}")).status == 200
        assert doors.names() == ["service-1", "service-2"]
        assert [call.repeatable for _, call in doors.sent] == [False, False]
        doors = house({"service-1": ending, "service-2": answer}, public("POST", keyed=True))
        assert (await doors.ask("POST", "/a", {}, b"{}")).status >= 400
        doors = house({"service-1": ending, "service-2": answer}, public("POST"))
        assert (await doors.ask("POST", "/a", KEYED, b"{}")).status >= 400
        assert doors.names() == ["service-1"]


async def test_a_defect_with_a_key_is_not_tried_again() -> None:
    doors = house({"service-1": BROKEN, "service-2": answer}, public("POST", keyed=True))
    assert (await doors.ask("POST", "/a", KEYED, b"{}")).status == 500
    assert doors.names() == ["service-1"]


async def test_a_key_makes_no_attempt_briefer() -> None:
    """A POST may take all of its deadline, and still may with a key."""

    async def slow(call: Call[Request]) -> Response:
        await asyncio.sleep(2.5)
        return await answer(call)

    doors = house({"service-1": slow, "service-2": slow}, public("POST", keyed=True))
    assert (await doors.ask("POST", "/a", KEYED, b"{}")).status == 200
    assert doors.names() == ["service-1"]


class Feeder:
    """Nobody who could bring more of a body."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def wanted(self) -> None: ...
    def abandoned(self) -> None: ...


async def test_a_body_on_its_way_is_never_sent_twice() -> None:
    doors = house({"service-1": AWAY, "service-2": answer})
    assert (await doors.ask("PUT", "/a", body=Stream(Feeder(), 5, 100))).status == 503
    assert doors.names() == ["service-1"]


async def test_a_small_body_that_comes_behind_its_head_is_waited_for_to_be_sent_twice() -> None:
    """So do many clients send it. One that is large, or of no known size, goes on as it comes."""
    for length, names in ((HELD, 2), (HELD + 1, 1), (None, 1)):
        doors = house({"service-1": AWAY, "service-2": answer}, public("POST", keyed=True))
        body = Stream(Feeder(), length, 1 << 20)
        asked = asyncio.ensure_future(doors.ask("POST", "/a", KEYED, body))
        await advance()
        assert len(doors.sent) == (0 if names == 2 else 1)
        body.feed(b"a" * (length or 10))
        body.finish()
        assert (await asked).status == (200 if names == 2 else 503)
        assert len(doors.sent) == names


async def test_a_client_that_leaves_amid_a_body_that_is_waited_for_is_nobodys_failure() -> None:
    doors = house({"service-1": answer}, public("POST", keyed=True))
    body = Stream(Feeder(), 5, 100)
    asked = asyncio.ensure_future(doors.ask("POST", "/a", KEYED, body))
    await advance()
    body.fail(Fault(Code.CANCELLED, "it left", effect=Effect.NONE))
    assert (await asked).status == 499
    assert (doors.sent, doors.out(), state(doors, "POST /a")) == ([], 0, "closed")


async def test_a_defect_is_not_tried_again() -> None:
    doors = house({"service-1": BROKEN, "service-2": answer})
    assert (await doors.ask("GET", "/a")).status == 500
    assert doors.names() == ["service-1"]


async def test_retries_stay_within_their_budget() -> None:
    doors = house({"service-1": AWAY}, settings=GatewaySettings(endpoint_permits=10_000))
    codes = [(await doors.ask("GET", "/a")).status for _ in range(400)]
    assert set(codes) == {503}
    assert len(doors.sent) <= 400 * 1.25


async def test_a_process_that_is_not_there_costs_no_attempt_and_no_budget() -> None:
    doors = house({"service-1": unreached, "service-2": answer})
    for method in ("GET", "POST"):
        for _ in range(40):
            assert (await doors.ask(method, "/a", body=b"")).status == 200
    assert set(doors.names()) == {"service-1", "service-2"}
    assert {call.attempt for _, call in doors.sent} == {1}


def gone(name: str) -> Any:
    async def serve(call: Call[Request]) -> Response:
        raise Fault(Code.UNAVAILABLE, "no connection", effect=Effect.NONE, origin=name)

    return serve


async def test_one_attempt_looks_for_so_many_that_are_there() -> None:
    names = [f"service-{number}" for number in range(1, 10)]
    doors = house({name: gone(name) for name in names}, settings=GatewaySettings(attempts=1))
    assert (await doors.ask("POST", "/a", body=b"")).status == 503
    assert len(doors.names()) == len(set(doors.names())) == 3


async def test_where_none_is_there_it_is_the_service_that_fails() -> None:
    doors = house({name: gone(name) for name in ("service-1", "service-2")})
    for _ in range(80):
        assert (await doors.ask("GET", "/a")).status == 503
    assert state(doors, "GET /a") == "open"


async def test_what_was_not_done_farther_away_is_another_attempt() -> None:
    """The process was there, and has been asked: that is not as if nothing had been sent."""
    doors = house({"service-1": gone("postgres"), "service-2": answer})
    assert (await doors.ask("GET", "/a")).status == 200
    assert [call.attempt for _, call in doors.sent] == [1, 2]


async def test_a_hung_process_costs_an_attempt_and_no_more() -> None:
    doors = house({"service-1": hang, "service-2": answer})
    began = clock()
    assert (await doors.ask("GET", "/a")).status == 200
    assert doors.names() == ["service-1", "service-2"]
    assert 1.0 <= clock() - began < 1.2


# What a process says of others


async def test_what_came_from_farther_away_opens_nothing_and_is_not_tried_again() -> None:
    fault = Fault(Code.UNAVAILABLE, "the database is away", origin="postgres")
    doors = house({"service-1": failing(fault), "service-2": failing(fault)})
    for _ in range(30):
        found = await doors.ask("GET", "/a")
        assert (found.status, said(found)["code"]) == (503, "unavailable")
    assert len(doors.sent) == 30
    assert doors.transitions == []


async def test_what_a_process_refuses_opens_nothing() -> None:
    fault = Fault(Code.UNAVAILABLE, "full", effect=Effect.NONE, refusal=Refusal.FULL)
    doors = house({"service-1": failing(fault)})
    for _ in range(30):
        assert (await doors.ask("POST", "/a")).status == 503
    assert doors.transitions == []


async def test_a_failing_route_closes_no_other_at_the_same_process() -> None:
    async def serve(call: Call[Request]) -> Response:
        return await (BROKEN if call.payload.path == "/bad" else answer)(call)

    doors = house({"service-1": serve}, public("GET", "/bad"), public("GET", "/good"))
    for _ in range(10):
        await doors.ask("GET", "/bad")
        assert (await doors.ask("GET", "/good")).status == 200
    assert state(doors, "GET /bad", "service-1") == state(doors, "GET /bad") == "open"
    assert state(doors, "GET /good", "service-1") == state(doors, "GET /good") == "closed"
    found = await doors.ask("GET", "/bad")
    assert (found.status, 4 <= int(found.headers["retry-after"]) <= 6) == (503, True)
    assert (await doors.ask("GET", "/good")).status == 200


async def test_a_failing_process_is_left_out_and_taken_back() -> None:
    doors = house({"service-1": BROKEN, "service-2": answer, "service-3": answer})

    async def asked_for(seconds: float) -> list[int]:
        statuses = []
        for _ in range(int(seconds / 0.1)):
            await asyncio.sleep(0.1)
            statuses.append((await doors.ask("GET", "/a")).status)
        return statuses

    # It costs a try every few seconds, until its breaker says that five in a row are enough.
    assert (await asked_for(60)).count(500) <= 10
    assert state(doors, "GET /a", "service-1") in ("open", "half_open")
    assert state(doors, "GET /a") == "closed"
    doors.serving["service-1"] = answer
    assert set(await asked_for(60)) == {200}
    assert state(doors, "GET /a", "service-1") == "closed"
    doors.sent.clear()
    await asked_for(20)
    assert doors.names().count("service-1") > 20


async def test_where_most_are_unwell_all_are_used() -> None:
    """One of four stands: alone it would fall, too."""
    doors = house({f"service-{number}": answer for number in range(1, 5)})
    for way in doors.upstream.lane(public("GET"))._ways[:3]:
        way.breaker.force_open(clock())
    for _ in range(20):
        assert (await doors.ask("GET", "/a")).status == 200
    assert len(set(doors.names())) > 1


# Processes that come and go


async def test_without_a_process_it_is_503_at_once_and_surely_nothing_happened() -> None:
    doors = house({})
    began = clock()
    for method in ("GET", "POST"):
        found = await doors.ask(method, "/a")
        assert (found.status, found.headers["retry-after"]) == (503, "1")
    assert clock() == began
    with pytest.raises(Fault, match="no process of service is ready") as raised:
        await doors.upstream.lane(public("GET")).run(doors.call("GET", "/a"))
    assert (raised.value.effect, raised.value.refusal) == (Effect.NONE, Refusal.DRAINING)
    assert not doors.upstream.serving


async def test_nothing_new_goes_to_who_misses_its_beats() -> None:
    doors = house({"service-1": hang, "service-2": answer})
    doors.update(routable=["service-2"])
    assert [(await doors.ask("GET", "/a")).status for _ in range(10)] == [200] * 10
    assert set(doors.names()) == {"service-2"}
    doors.update(routable=[])  # then it is likelier us who are late than both of them
    assert not doors.upstream.serving
    doors.serving["service-1"] = answer
    assert (await doors.ask("GET", "/a")).status == 200


async def test_a_new_generation_is_another_process() -> None:
    doors = house({"service-1": BROKEN}, settings=GatewaySettings(endpoint_permits=1))
    for _ in range(5):
        await doors.ask("GET", "/a")
    assert state(doors, "GET /a", "service-1") == "open"
    doors.update(generation=2)
    await asyncio.sleep(0)
    assert doors.closed == ["unix:/service-1.1"]
    assert state(doors, "GET /a", "service-1") == "closed"
    assert doors.upstream.statistics()["endpoints"]["service-1"]["admitted"] == 0


async def test_where_every_process_is_new_nothing_of_the_old_ones_holds() -> None:
    doors = house({"service-1": BROKEN, "service-2": BROKEN})
    for _ in range(10):
        await doors.ask("GET", "/a")
    assert state(doors, "GET /a") == "open"
    doors.update(routable=["service-2"])
    assert state(doors, "GET /a") == "open"
    doors.serving = {"service-1": answer, "service-2": answer}
    doors.update(generation=2)
    assert (await doors.ask("GET", "/a")).status == 200
    assert doors.transitions[-1].why == "every process was started anew"


async def test_the_same_topology_again_changes_nothing() -> None:
    doors = house({"service-1": answer})
    await doors.ask("GET", "/a")
    doors.update()
    await asyncio.sleep(0)
    assert doors.closed == []
    assert doors.upstream.statistics()["endpoints"]["service-1"]["admitted"] == 1


async def test_closing_closes_every_pool() -> None:
    doors = house({"service-1": answer, "service-2": answer})
    await doors.upstream.close()
    assert sorted(doors.closed) == ["unix:/service-1.1", "unix:/service-2.1"]


# Room


async def test_one_process_takes_so_many_at_once_whatever_the_route() -> None:
    routes = (public("GET", "/a"), public("GET", "/b"))
    doors = house({"service-1": hang}, *routes, settings=GatewaySettings(endpoint_permits=2))
    asked = [asyncio.ensure_future(doors.ask("GET", path)) for path in ("/a", "/b", "/a", "/b")]
    await asyncio.sleep(0.05)
    assert len(doors.sent) == 2
    assert doors.upstream.statistics()["endpoints"]["service-1"]["waiting"] == 2
    found = await asyncio.gather(*asked)
    assert all(one.status in (503, 504) for one in found)
    assert doors.out() == 0


async def test_who_finds_no_room_is_sent_to_the_next_process() -> None:
    """At once, and as the same attempt: nothing was sent anywhere."""
    doors = house(
        {"service-1": answer, "service-2": answer}, settings=GatewaySettings(endpoint_permits=1)
    )
    full = doors.upstream._processes["service-1"].bulkhead
    for _ in range(2):
        full.admit(Ask(), clock())
    for _ in range(20):
        assert (await doors.ask("POST", "/a")).status == 200
    assert set(doors.names()) == {"service-2"}
    assert {call.attempt for _, call in doors.sent} == {1}
    assert int(full.statistics()["refused"]) > 0


def streaming(pieces: Callable[[], AsyncIterator[bytes]]) -> Any:
    async def serve(call: Call[Request]) -> Response:
        return StreamResponse.of(pieces())

    return serve


async def forever() -> AsyncIterator[bytes]:
    while True:
        yield b"x"


async def test_a_stream_is_in_flight_until_it_ends_however_it_ends() -> None:
    for end in ("read", "left"):
        doors = house({"service-1": streaming(forever)})
        found = await doors.ask("GET", "/a")
        assert isinstance(found, StreamResponse)
        lane = doors.upstream.lane(public("GET"))
        assert [way.in_flight for way in lane._ways] == [1]
        assert doors.out() > 0
        if end == "read":
            found.body._end(GOOD)
        else:
            found.abandon()
        assert [way.in_flight for way in lane._ways] == [0]
        assert doors.out() == 0


# Time


SETTINGS = GatewaySettings()


@pytest.mark.parametrize(
    ("deadline", "attempt_timeout", "repeatable", "other"),
    [(3.0, 0.0, 1.0, 3.0), (1.0, 0.0, 0.5, 1.0), (60.0, 0.0, 20.0, 60.0), (60.0, 50.0, 50.0, 60.0)],
)
def test_what_an_attempt_gets(
    deadline: float, attempt_timeout: float, repeatable: float, other: float
) -> None:
    attempts = attempts_of(deadline, attempt_timeout, SETTINGS)
    assert attempts.allow(deadline, repeatable=True) == repeatable
    assert attempts.allow(deadline, repeatable=False) == other


@pytest.mark.parametrize("repeatable", [True, False])
def test_an_attempt_that_is_the_only_one_gets_all_the_time(repeatable: bool) -> None:
    attempts = attempts_of(60.0, 0.0, GatewaySettings(attempts=1))
    assert attempts.allow(60.0, repeatable=repeatable) == 60.0


@pytest.mark.parametrize(
    ("deadline", "said", "allowed"),
    [(30.0, 30.0, 30.0), (30.0, 60.0, 30.0), (0.8, 30.0, 0.8), (30.0, 12.0, 12.0),
     (30.0, 29.0, 15.0), (30.0, 1.0, 10.0), (0.8, 1.0, 0.4)],
)  # fmt: skip
def test_an_attempt_that_the_configuration_gives_all_the_time_gets_it(
    deadline: float, said: float, allowed: float
) -> None:
    attempts = attempts_of(deadline, 0.0, GatewaySettings(attempt_timeout=said))
    assert attempts.allow(deadline, repeatable=True) == allowed


@pytest.mark.parametrize(
    ("deadline", "fields", "words"),
    [
        (30.0, {}, "longer than 10 s is given up each time.* gateway.attempt_timeout = 30, too"),
        (30.0, {"attempt_timeout": 12.0}, "takes longer than 12 s"),
        (30.0, {"attempt_timeout": 30.0}, "^$"),
        (30.0, {"attempts": 1}, "^$"),
        (3.0, {}, "^$"),
        (1.0, {}, "^$"),
    ],
)
def test_a_long_deadline_that_no_attempt_gets_is_doubted(
    deadline: float, fields: dict[str, Any], words: str
) -> None:
    assert re.search(words, given_up(deadline, GatewaySettings(**fields)))


def taking(seconds: float) -> Any:
    async def serve(call: Call[Request]) -> Response:
        await asyncio.sleep(seconds)
        return await answer(call)

    return serve


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_route_may_take_as_long_as_it_says(method: str) -> None:
    doors = house({"service-1": taking(15)}, public(method, deadline=60.0))
    assert (await doors.ask(method, "/a")).status == 200
    assert doors.names() == ["service-1"]
    assert doors.transitions == []


async def test_slow_is_measured_by_what_an_attempt_may_take() -> None:
    for seconds, opened in ((15.0, State.CLOSED), (18.0, State.OPEN)):
        doors = house({"service-1": taking(seconds)}, public("GET", deadline=60.0))
        asked = [asyncio.ensure_future(doors.ask("GET", "/a")) for _ in range(12)]
        await asyncio.gather(*asked)
        assert state(doors, "GET /a", "service-1") == opened


async def test_a_caller_in_a_hurry_opens_no_breaker() -> None:
    doors = house({"service-1": taking(0.5)})
    hurried = [doors.ask("POST", "/a", {"grpc-timeout": "100m"}) for _ in range(20)]
    assert {one.status for one in await asyncio.gather(*hurried)} == {504}
    assert doors.transitions == []
    assert (await doors.ask("POST", "/a")).status == 200


@pytest.mark.parametrize("late", [True, False])
async def test_a_service_that_hangs_opens_its_breaker(late: bool) -> None:
    """Whether its processes say so themselves or not: the last attempt always has little time."""

    async def overdue(call: Call[Request]) -> Response:
        left = call.deadline - clock()
        await asyncio.sleep(0.95 * left)
        hurried = Refusal.HURRIED if left < 0.8 else None
        fault = Fault(Code.DEADLINE_EXCEEDED, "late", refusal=hurried)
        return await failing(fault)(call)

    serve = overdue if late else hang
    doors = house({"service-1": serve, "service-2": serve})
    asked = [asyncio.ensure_future(doors.ask("GET", "/a")) for _ in range(6)]
    assert {one.status for one in await asyncio.gather(*asked)} == {504}
    assert state(doors, "GET /a") == "open"
    began = clock()
    assert (await doors.ask("GET", "/a")).status == 503
    assert clock() == began
    assert (await doors.ask("GET", "/a", {"grpc-timeout": "300m"})).status == 503


async def test_a_hung_process_opens_the_breaker_of_what_must_not_be_repeated() -> None:
    doors = house({"service-1": hang})
    asked = [asyncio.ensure_future(doors.ask("POST", "/a")) for _ in range(5)]
    assert {one.status for one in await asyncio.gather(*asked)} == {504}
    assert state(doors, "POST /a", "service-1") == state(doors, "POST /a") == "open"


@pytest.mark.parametrize("complete", [False, True])
async def test_who_sends_a_body_slowly_opens_nobodys_breaker(complete: bool) -> None:
    doors = house({"service-1": hang})
    for _ in range(10):
        body = Stream(Feeder(), 5, 100)
        if complete:
            body.feed(b"12345")
            body.finish()
        assert (await doors.ask("POST", "/a", body=body)).status in (503, 504)
    states = {state(doors, "POST /a", "service-1"), state(doors, "POST /a")}
    assert states == ({"open"} if complete else {"closed"})
    assert doors.out() == 0


async def test_callers_in_a_hurry_are_no_failure_of_the_service() -> None:
    doors = house({"service-1": hang, "service-2": hang})
    for _ in range(20):
        assert (await doors.ask("GET", "/a", {"grpc-timeout": "400m"})).status == 504
    assert doors.transitions == []


async def test_what_left_unanswered_says_nothing_of_how_slow_a_process_is() -> None:
    doors = house({"service-1": hang})
    asked = asyncio.ensure_future(doors.ask("POST", "/a"))
    await asyncio.sleep(0.5)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    (way,) = doors.upstream.lane(public("POST"))._ways
    assert (way.ewma.at(clock()), way.in_flight) == (0.0, 0)


def test_a_deadline_beyond_all_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match=r"GET /a: a deadline of 301 s; up to 300 s"):
        public("GET", deadline=301.0)
    assert replace(public("GET"), deadline=300.0).deadline == 300.0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"attempts": 0}, "attempts is 0"),
        ({"attempt_timeout": 0.0}, "attempt_timeout is 0"),
        ({"endpoint_permits": 0}, "endpoint_permits is 0"),
        ({"leeway": 121.0}, "leeway is 121"),
        ({"keys_every": 0.0}, "keys_every is 0"),
        ({"trusted_proxies": ("10.0.0.1/8",)}, "10.0.0.1/8"),
    ],
)
def test_figures_that_cannot_be_are_refused_where_they_are_written(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        GatewaySettings(**fields)


def test_what_contradicts_in_a_route_is_known_before_its_first_request() -> None:
    settings = GatewaySettings(attempts=3)
    assert lint(plan_of(RouteEntry("GET", "/a", "service"), settings)) == ()
    assert lint(plan_of(RouteEntry("POST", "/a", "service", deadline=60.0), settings)) == ()
    assert lint(plan_of(RouteEntry("PUT", "/a", "service", deadline=60.0), settings)) == ()
    patient = RouteEntry("GET", "/a", "service", deadline=60.0, attempt_timeout=60.0)
    assert lint(plan_of(patient, settings)) == ()  # as the documents tell to write it
    tight = RouteEntry("GET", "/a", "service", deadline=3.0, attempt_timeout=2.0)
    (finding,) = lint(plan_of(tight, settings))
    assert finding.setting == "attempts"
    assert "2 attempts fit into 3 s" in finding.why


async def test_a_process_that_comes_later_gets_its_part_of_the_load_by_and_by() -> None:
    doors = house({"service-1": answer, "service-2": answer})
    del doors.serving["service-2"]
    doors.update()
    await doors.ask("GET", "/a")
    await asyncio.sleep(60.0)
    doors.serving["service-2"] = answer
    doors.update()
    shares = []
    for _ in range(4):
        doors.sent.clear()
        for _ in range(200):
            await doors.ask("GET", "/a")
        shares.append(sum(name == "service-2" for name, _ in doors.sent) / 200)
        await asyncio.sleep(4.0)
    assert shares[0] < 0.2, "it is cold"
    assert shares[0] < shares[1] < shares[2]
    assert 0.3 < shares[3] < 0.7


async def test_where_all_processes_are_new_none_is_spared() -> None:
    doors = house({"service-1": answer, "service-2": answer})
    del doors.serving["service-2"]
    doors.update()
    await asyncio.sleep(1.0)  # they come up one after the other
    doors.serving["service-2"] = answer
    doors.update()
    for _ in range(200):
        await doors.ask("GET", "/a")
    assert 0.3 < sum(name == "service-2" for name, _ in doors.sent) / 200 < 0.7


async def test_where_half_of_the_breakers_are_open_nobody_takes_the_express_way() -> None:
    """From there on there may be a panic, in which breakers are passed by: that is for the door."""
    names = [f"service-{number}" for number in range(1, 5)]
    doors = house(dict.fromkeys(names, answer), public("GET"))
    lane = doors.upstream.lane(public("GET"))
    breakers = [way.breaker for way in lane._usable]
    assert lane.swift(clock()) is not None
    breakers[0].force_open(clock())
    drawn = [lane.swift(clock()) for _ in range(100)]
    assert {way.name for way in drawn if way is not None} == set(names[1:])
    breakers[1].force_open(clock())
    assert not any(lane.swift(clock()) for _ in range(100))
    breakers[0].reset(clock())
    assert any(lane.swift(clock()) for _ in range(100))
    assert [event.new for event in doors.transitions] == [State.OPEN, State.OPEN, State.CLOSED]
