"""Who takes how much of the event loop, and who waits for it: whole overloads, in virtual time."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from switchgear.core.outcome import Done, Failed, Outcome
from switchgear.http.asgi import AsgiHost
from switchgear.http.message import Request, Response
from switchgear.policy.call import Call, Principal
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.services.endpoint import Endpoint, Mount
from switchgear.services.host import Host
from switchgear.services.providers import http_providers
from switchgear.services.settings import LoopSettings
from switchgear.services.turns import Taken, Turns
from switchgear.telemetry.metrics import Registry
from switchgear.telemetry.process import LagProbe
from switchgear.testing.virtual import clock
from tests.support.cancel import Receipt

pytestmark = pytest.mark.virtual

COMPUTES = 0.025
WITHIN = 1.0  # seconds that an attempt has
BEARS = 1 / COMPUTES  # calls a second


def compute(seconds: float) -> None:
    """Hold the loop: time passes, and nothing else happens in it."""
    loop: Any = asyncio.get_running_loop()
    loop._now += seconds


async def at_once() -> None:
    compute(COMPUTES)


async def after_a_wait() -> None:
    await asyncio.sleep(0.01)
    compute(COMPUTES)


async def in_a_task() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(at_once())


async def in_many_steps() -> None:
    """Come to the loop again and again, as frameworks do between their middlewares."""
    for _ in range(8):
        compute(COMPUTES / 8)
        await asyncio.sleep(0)


async def cheap() -> None:
    await asyncio.sleep(0.005)
    await asyncio.sleep(0.005)


async def patient() -> None:
    """Compute little, and wait for long, as who asks another service does."""
    compute(0.004)
    await asyncio.sleep(0.5)
    compute(0.004)


async def app(scope: Any, receive: Any, send: Any) -> None:
    compute(COMPUTES)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


class Service:
    """A service's process, and what tells it how late its loop runs."""

    def __init__(
        self,
        dear: Callable[..., Any] = at_once,
        application: Callable[..., Any] = app,
        **settings: Any,
    ) -> None:
        self.told: list[list[tuple[str, int]]] = []
        self.turns = Turns(LoopSettings(**settings), clock=clock, tell=self._tell)
        self.host = Host(
            "service",
            (Endpoint("GET", "/dear", dear), Endpoint("GET", "/cheap", cheap)),
            (Mount("/legacy", application),),
            tables=None,
            providers=http_providers(),
            mounted=self._mounted,
            turns=self.turns,
            clock=clock,
        )
        probe = LagProbe(Registry(), clock=clock, told=[self.turns.look])
        probe.start(asyncio.get_running_loop())
        self.answers: dict[str, Counter[str]] = {}
        self.unanswered: set[str] = set()  # the routes that the log names for them
        self._asked: list[asyncio.Task[None]] = []

    def _mounted(self, application: Callable[..., Any], prefix: str) -> AsgiHost:
        self.application = AsgiHost(application, prefix)
        return self.application

    def _tell(self, narrowed: list[Taken]) -> None:
        self.told.append([(one.name, one.at_once) for one in narrowed])

    async def offer(self, target: str, rate: float, seconds: float) -> None:
        """Ask at a rate, whatever comes of it."""
        begun, sent = clock(), 0
        while sent < rate * seconds:
            while sent < min(seconds, clock() - begun) * rate:
                due = begun + sent / rate
                sent += 1
                self._asked.append(asyncio.create_task(self._ask(target, due)))
            await asyncio.sleep(1 / rate)

    async def _ask(self, target: str, due: float) -> None:
        outcome = await self.ask(target, due)
        counted = self.answers.setdefault(target, Counter())
        if not isinstance(outcome, Failed):
            counted["good"] += 1
        elif isinstance(outcome.error, Fault) and outcome.error.refusal is Refusal.FULL:
            counted["refused"] += 1
        else:
            counted["failed"] += 1

    async def ask(self, target: str, due: float | None = None) -> Outcome[Any]:
        """Ask once, and wait no longer than a gateway does, since when it was `due`."""
        due = clock() if due is None else due
        request = Request.of("GET", target, headers={}, body=b"")
        call = Call(request, clock() + WITHIN, principal=Principal("ada"))
        receipt = Receipt(call, _nothing)
        await self.host.run(receipt)
        (outcome,) = receipt.outcomes
        if isinstance(outcome, Failed):
            self.unanswered.add(call.trail.route)
        if clock() > due + WITHIN:
            return Failed(TimeoutError(f"it took {clock() - due} s"))
        return outcome

    async def over(self) -> None:
        """Wait for all that was asked."""
        await asyncio.gather(*self._asked)
        self._asked.clear()
        await self.application.stop()


async def overloaded(service: Service, target: str = "/dear", times: float = 2.0) -> None:
    """Ask for more than it can do, and for a little of something else."""
    seconds = 20.0
    await asyncio.gather(
        service.offer(target, times * BEARS, seconds), service.offer("/cheap", 10, seconds)
    )
    await service.over()


async def _nothing() -> None: ...


@pytest.mark.parametrize("dear", [at_once, after_a_wait, in_a_task])
@pytest.mark.parametrize("times", [2.0, 5.0])
async def test_who_asks_for_more_than_it_bears_gets_nearly_all_that_it_bears(
    dear: Callable[[], Awaitable[None]], times: float
) -> None:
    service = Service(dear)
    await overloaded(service, times=times)
    dearest, neighbours = service.answers["/dear"], service.answers["/cheap"]
    assert dearest["good"] >= 0.8 * 20 * BEARS, dearest
    assert dearest["failed"] <= 2 * times * BEARS, dearest  # before it was known who takes how much
    assert neighbours["good"] >= 0.95 * neighbours.total(), neighbours
    assert service.turns.refused >= dearest["refused"] > 0


async def test_who_only_waits_for_the_loop_again_and_again_waits_for_nothing_else() -> None:
    service = Service(in_many_steps)
    await overloaded(service)
    assert service.told[0][0][1] <= 8
    assert service.answers["/dear"]["failed"] <= BEARS, service.answers
    assert service.answers["/cheap"]["good"] >= 0.98 * service.answers["/cheap"].total()


async def test_while_nobody_knows_how_long_a_dear_route_waits_it_is_soon_judged_again() -> None:
    told: list[list[Taken]] = []
    turns = Turns(clock=clock, tell=told.append)

    async def answer(_: Call[Request]) -> Response:
        compute(0.05)
        await asyncio.sleep(0.25)
        compute(0.06)
        return Response(204)

    call = Call(Request.of("GET", "/dear", headers={}, body=b""), clock() + WITHIN)
    turns.look(0.1)
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(turns.run("GET /dear", answer, call))
        await asyncio.sleep(0.2)
        turns.look(0.1)
        assert told == [], "none of them has ended"
        await asyncio.sleep(0.25)
        turns.look(0.1)
    assert [[one.name for one in narrowed] for narrowed in told] == [["GET /dear"]]


@pytest.mark.parametrize("mode", ["off", "observe"])
async def test_without_it_next_to_nothing_ends_in_time(mode: str) -> None:
    service = Service(mode=mode)
    await overloaded(service)
    assert service.answers["/dear"]["good"] <= 0.2 * 20 * BEARS
    assert service.answers["/cheap"]["good"] <= 0.2 * service.answers["/cheap"].total()
    assert service.turns.refused == 0
    assert bool(service.told) is (mode == "observe")


async def test_a_mounted_application_waits_for_its_turn_as_well() -> None:
    service = Service()
    await overloaded(service, "/legacy/a")
    assert service.answers["/legacy/a"]["good"] >= 0.8 * 20 * BEARS
    assert service.answers["/cheap"]["good"] >= 0.9 * service.answers["/cheap"].total()
    assert service.told[0][0][0] == "* /legacy/*"


async def test_who_waits_most_of_his_time_is_let_in_as_before() -> None:
    service = Service(patient)
    busy = asyncio.create_task(service.offer("/dear", 110, 20.0))  # 88 % of the loop's time
    await service.offer("/legacy/a", 5, 1.0)
    await asyncio.sleep(5)
    compute(0.3)  # somebody else holds it for a moment
    await busy
    await service.over()
    assert service.answers["/dear"]["good"] >= 0.95 * service.answers["/dear"].total()


async def test_one_who_is_narrowed_and_waits_elsewhere_is_let_in_more_and_more() -> None:
    taken = Taken("GET /dear")
    taken.spent, taken.calls = 0.3, 30
    taken.judge(0.5)
    assert (taken.seconds, taken.share) == pytest.approx((0.01, 0.6))
    taken.narrow(0.1)
    assert taken.at_once == 10
    taken.adapt(0.6, late=False)
    taken.narrow(0.1)
    assert taken.at_once == 10, "nobody waits"
    queue = taken.queue
    assert queue is not None
    queue.queued = 1
    seen = []
    for _ in range(3):
        taken.adapt(0.7, late=False)
        taken.narrow(0.1)
        seen.append(taken.at_once)
        assert taken.queue is not None
        taken.queue.queued = 1
    assert seen == [16, 23, 34]
    taken.adapt(0.9, late=False)
    taken.narrow(0.1)
    assert taken.at_once == 34, "the loop is full"
    for _ in range(5):
        taken.adapt(0.9, late=True)
        taken.narrow(0.1)
    assert taken.at_once == 10


async def test_all_are_let_in_again_once_the_loop_has_been_in_time_for_long() -> None:
    service = Service(memory=5.0)
    await overloaded(service)
    assert service.turns.on
    assert asyncio.get_running_loop().get_task_factory() is not None
    await asyncio.sleep(6)
    assert not service.turns.on
    assert service.told[-1] == []
    assert asyncio.get_running_loop().get_task_factory() is None
    await overloaded(service)  # and it is as it was
    assert service.answers["/dear"]["good"] >= 2 * 0.8 * 20 * BEARS


async def test_one_that_takes_little_by_now_is_let_in_though_others_make_the_loop_late() -> None:
    service = Service(memory=5.0)
    await overloaded(service)
    assert service.told[-1] != []
    for _ in range(8):
        compute(0.19)
        await asyncio.sleep(1)
    assert service.turns.on
    assert service.told[-1] == []


async def test_what_goes_on_behind_an_answer_is_no_part_of_the_call() -> None:
    async def long(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(20):
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await asyncio.sleep(0.05)
            compute(0.04)
        await send({"type": "http.response.body", "body": b"b"})

    service = Service(application=long)
    service.turns.look(1.0)
    streams = [asyncio.create_task(service.ask("/legacy/a")) for _ in range(5)]
    await asyncio.sleep(3)
    assert service.turns.on
    assert service.told == []
    for outcome in await asyncio.gather(*streams):
        assert isinstance(outcome, Done)
        outcome.value.abandon()
    await service.over()


async def test_a_loop_that_is_late_by_many_short_calls_narrows_none() -> None:
    async def short() -> None:
        compute(0.001)

    service = Service(short)
    await service.offer("/dear", 900, 5)
    await service.over()
    assert service.turns.on is False
    compute(0.2)  # by something else
    await service.offer("/dear", 950, 5)
    await service.over()
    assert service.turns.on
    assert service.told == []


async def test_a_loop_with_time_to_spare_narrows_none_though_it_was_late() -> None:
    service = Service()
    offered = asyncio.create_task(service.offer("/dear", 0.4 * BEARS, 10))
    for _ in range(9):
        await asyncio.sleep(1)
        compute(0.1)  # by something else
    await offered
    await service.over()
    assert service.turns.on
    assert service.told == []
    assert service.answers["/dear"]["good"] == service.answers["/dear"].total()


def asked() -> Call[Request]:
    return Call(Request.of("GET", "/dear", headers={}, body=b""), clock() + 60.0)


async def test_two_calls_say_nothing_of_a_route() -> None:
    told: list[list[int]] = []
    turns = Turns(clock=clock, tell=lambda narrowed: told.append([one.at_once for one in narrowed]))

    async def answer(_: Call[Request]) -> Response:
        compute(0.055)
        return Response(204)

    turns.look(0.1)
    for number in range(4):
        await turns.run("GET /dear", answer, asked())
        turns.look(0.1)
        assert told == ([[2]] if number == 3 else [])


@pytest.mark.parametrize(("waits", "at_once"), [((0.3,), 6), ((0.1, 0.1, 0.1), 2)])
async def test_what_a_call_waits_beyond_the_loop_has_more_let_in(
    waits: tuple[float, ...], at_once: int
) -> None:
    """By as much as the loop was late, each wait may have been for the loop."""
    told: list[list[int]] = []
    turns = Turns(clock=clock, tell=lambda narrowed: told.append([one.at_once for one in narrowed]))

    async def answer(_: Call[Request]) -> Response:
        compute(0.055)
        for wait in waits:
            await asyncio.sleep(wait)
        return Response(204)

    turns.look(0.1)
    await turns.run("GET /dear", answer, asked())
    turns.look(0.1)  # which ends a window
    turns.look(0.1)
    async with asyncio.TaskGroup() as group:
        for _ in range(12):
            group.create_task(turns.run("GET /dear", answer, asked()))
    assert told[0] == [at_once]


async def test_two_dear_routes_share_the_turn() -> None:
    service = Service()
    await asyncio.gather(
        service.offer("/dear", BEARS, 10), service.offer("/legacy/a", 2 * BEARS, 10)
    )
    await service.over()
    assert {name for name, _ in service.told[-1]} == {"GET /dear", "* /legacy/*"}
    assert all(at_once <= 3 for _, at_once in service.told[-1])
    assert min(counted["good"] for counted in service.answers.values()) >= 0.3 * 10 * BEARS


async def test_what_is_refused_was_not_begun_and_says_so() -> None:
    service = Service()
    offered = asyncio.create_task(overloaded(service, times=4))
    await asyncio.sleep(10)
    outcome = await service.ask("/dear")
    while not isinstance(outcome, Failed):
        outcome = await service.ask("/dear")
    fault = outcome.error
    assert isinstance(fault, Fault)
    assert (fault.code, fault.effect, fault.refusal) == (
        Code.UNAVAILABLE,
        Effect.NONE,
        Refusal.FULL,
    )
    assert "GET /dear, which takes the event loop" in fault.detail
    assert service.unanswered == {"GET /dear"}
    await offered


async def test_who_leaves_or_fails_leaves_no_place_taken() -> None:
    async def failing() -> None:
        compute(COMPUTES)
        raise LookupError

    service = Service(failing)
    offered = asyncio.create_task(overloaded(service))
    await asyncio.sleep(10)
    leaving = [asyncio.create_task(service.ask("/dear")) for _ in range(8)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    await offered
    await asyncio.sleep(1)
    (taken,) = service.turns._narrowed
    assert taken.queue is not None
    assert (taken.queue.out, taken.queue.queued) == (0, 0)
