"""Calls of endpoints without a transaction: their one coroutine, against what it stands for."""

import asyncio
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from msgspec import Struct

from switchgear.core.ambient import current
from switchgear.core.clock import FINE, Clock
from switchgear.core.delivery import dispatch
from switchgear.core.outcome import Done, Failed
from switchgear.http.message import Request, Response, StreamResponse
from switchgear.http.stream import Produced
from switchgear.policy.call import Call, Principal
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.services.endpoint import Endpoint
from switchgear.services.host import Host
from switchgear.testing.virtual import clock
from tests.support.cancel import Receipt, Scene, everywhere

Way = Callable[[Host, Receipt], Coroutine[Any, Any, None]]


class Item(Struct):
    name: str


ADA = Principal("ada", "acme")


async def at_once() -> None:
    pass


async def slowly() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def served(handler: Callable[..., Any], time: Clock = clock, **options: Any) -> Host:
    method = "POST" if "new" in handler.__annotations__ else "GET"
    endpoint = Endpoint(method, "/a/{id}", handler, deadline=3.0, **options)
    return Host("service", [endpoint], tables=None, providers={}, clock=time)


def asked(
    *,
    method: str = "GET",
    within: float = 10.0,
    body: Any = b"",
    kind: str = "",
    time: Clock = clock,
) -> Call[Request]:
    headers = {"content-type": kind} if kind else {}
    request = Request.of(method, "/a/7", headers=headers, body=body)
    return Call(request, time() + within, principal=ADA)


def straight(host: Host, receipt: Receipt) -> Coroutine[Any, Any, None]:
    return host.run(receipt)


def by_parts(host: Host, receipt: Receipt) -> Coroutine[Any, Any, None]:
    return dispatch(host, receipt)


def told(receipt: Receipt) -> tuple[object, ...]:
    """Say all that an outcome tells its entrance."""
    (outcome,) = receipt.outcomes
    if isinstance(outcome, Done):
        answer = outcome.value
        return (type(answer), answer.status, list(answer.headers), answer.body)
    error = outcome.error
    if isinstance(error, Fault):
        return (error.code, error.detail, error.effect, error.refusal, error.origin, error.extra)
    return (type(error), str(error), type(error.__cause__))


async def well(id: int) -> Item:
    assert current() is not None
    return Item(f"number {id}")


async def well_in_its_time(id: int) -> Item:
    await asyncio.sleep(1.0)
    return Item("late enough")


async def nothing(id: int) -> None: ...


async def given(id: int, new: Item) -> Item:
    return new


async def refusing(id: int) -> None:
    raise Fault(Code.NOT_FOUND, "there is no such item", effect=Effect.NONE)


async def failing(id: int) -> None:
    raise ValueError("a defect")


async def hanging(id: int) -> None:
    await asyncio.sleep(60.0)


async def swallowing(id: int) -> Item:
    try:
        await asyncio.sleep(60.0)
    except CancelledError:
        pass
    return Item("all the same")


async def turning(id: int) -> None:
    try:
        await asyncio.sleep(60.0)
    except CancelledError:
        raise KeyError("amid its end") from None


async def exiting(id: int) -> None:
    raise SystemExit(3)


async def leaving(id: int) -> None:
    raise GeneratorExit


async def leaving_later(id: int) -> None:
    await asyncio.sleep(0)
    raise GeneratorExit


async def cancelled_by_itself(id: int) -> None:
    other = asyncio.ensure_future(asyncio.sleep(10))
    other.cancel()
    await other


async def not_as_declared(id: int) -> Item:
    return 7  # type: ignore[return-value]  # that is the test


async def no_int(id: bool) -> None: ...


SCENES: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (well, {}),
    (well_in_its_time, {}),
    (nothing, {}),
    (given, {"method": "POST", "body": b'{"name":"x"}'}),
    (given, {"method": "POST", "body": b'{"name":7}'}),
    (given, {"method": "POST", "body": b"{"}),
    (given, {"method": "POST", "body": b'{"name":"x"}', "kind": "text/plain"}),
    (given, {"method": "POST", "body": b'"' + b"x" * (1 << 20) + b'"'}),
    (refusing, {}),
    (failing, {}),
    (hanging, {}),
    (hanging, {"within": 0.5}),
    (hanging, {"within": -1.0}),
    (swallowing, {}),
    (turning, {}),
    (exiting, {}),
    (leaving, {}),
    (leaving_later, {}),
    (cancelled_by_itself, {}),
    (not_as_declared, {}),
    (no_int, {}),
]


@pytest.mark.virtual
@pytest.mark.parametrize(("handler", "fields"), SCENES)
async def test_an_exchange_is_settled_as_by_its_parts(
    handler: Callable[..., Any], fields: dict[str, Any]
) -> None:
    outcomes = []
    for way in (straight, by_parts):
        receipt = Receipt(asked(**fields), slowly)
        await way(served(handler), receipt)
        outcomes.append(told(receipt))
        assert receipt.work is asyncio.current_task()
        assert receipt.call.trail.route.endswith(" /a/{id}")
        assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]  # in a task
    assert outcomes[0] == outcomes[1]


@pytest.mark.virtual
async def test_nothing_is_begun_for_whose_time_is_over() -> None:
    begun: list[int] = []

    async def noting(id: int) -> None:
        begun.append(id)

    receipt = Receipt(asked(within=0.0), at_once)
    await served(noting).run(receipt)
    (outcome,) = receipt.outcomes
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, Fault)
    assert outcome.error.effect is Effect.NONE
    assert not begun


@pytest.mark.virtual
@pytest.mark.parametrize("way", [straight, by_parts])
async def test_who_is_called_off_is_settled_and_goes_on(way: Way) -> None:
    receipt = Receipt(asked(), slowly)
    task = asyncio.ensure_future(way(served(hanging), receipt))
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(CancelledError):
        await task
    (outcome,) = receipt.outcomes
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, CancelledError)


@pytest.mark.virtual
@pytest.mark.parametrize("way", [straight, by_parts])
async def test_a_call_thrown_away_is_settled_by_nobody(way: Way) -> None:
    receipt = Receipt(asked(), at_once)
    running = way(served(hanging), receipt)

    async def drive() -> None:
        running.send(None)

    await asyncio.ensure_future(drive())
    running.close()  # by others than who has driven it, as a task that is lost
    assert receipt.outcomes == []


@pytest.mark.virtual
@pytest.mark.parametrize("way", [straight, by_parts])
async def test_nobodys_call_is_ambient_behind_it(way: Way) -> None:
    await way(served(well), Receipt(asked(), at_once))
    assert current() is None


@pytest.mark.virtual
@pytest.mark.parametrize("way", [straight, by_parts])
async def test_what_streams_is_still_its_call(way: Way) -> None:
    seen: list[object] = []

    async def pieces() -> AsyncIterator[bytes]:
        at = current()
        seen.append(None if at is None else at.payload)
        yield b"piece"

    async def streaming(id: int) -> Response:
        return StreamResponse.of(pieces())

    receipt = Receipt(asked(), at_once)
    await way(served(streaming), receipt)
    (outcome,) = receipt.outcomes
    assert isinstance(outcome, Done)
    assert await outcome.value.body.read() == b"piece"
    assert seen == [receipt.call.payload]


@pytest.mark.virtual
@pytest.mark.parametrize("way", [straight, by_parts])
async def test_an_answer_that_tells_no_end_is_a_defect(way: Way) -> None:
    class Broken(StreamResponse):
        def on_end(self, done: object) -> None:
            raise OSError("no end is told")

    async def streaming(id: int) -> Response:
        return Broken(body=Produced(pieces(), None))

    async def pieces() -> AsyncIterator[bytes]:
        yield b""

    receipt = Receipt(asked(), at_once)
    await way(served(streaming), receipt)
    (outcome,) = receipt.outcomes
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, OSError)


@pytest.mark.virtual
async def test_a_body_that_comes_too_slowly_is_its_senders_affair() -> None:
    async def never() -> AsyncIterator[bytes]:
        await asyncio.sleep(60.0)
        yield b"{}"

    receipt = Receipt(asked(method="POST", body=Produced(never(), None)), at_once)
    await served(given).run(receipt)
    (outcome,) = receipt.outcomes
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, Fault)
    assert (outcome.error.code, outcome.error.refusal) == (Code.DEADLINE_EXCEEDED, Refusal.HURRIED)


async def test_called_off_at_any_wait_it_is_settled_once_and_leaves_nothing_armed() -> None:
    async def waiting(id: int, new: Item) -> Item:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return new

    async def body() -> AsyncIterator[bytes]:
        yield b'{"name":'
        await asyncio.sleep(0.001)
        yield b'"x"}'

    def scene() -> Scene:
        call = asked(method="POST", body=Produced(body(), None), time=FINE)
        receipt = Receipt(call, slowly)
        return Scene(served(waiting, FINE).run(receipt), receipts=[receipt])

    await everywhere(scene, least=4)
