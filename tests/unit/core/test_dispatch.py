"""Dispatch: every delivery is settled exactly once, whatever ended its work."""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

import pytest

from switchgear.core.delivery import dispatch, settled
from switchgear.core.drivers import Work, step, working
from switchgear.core.outcome import Done, Failed
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from tests.support.cancel import Receipt, driven, turns

Loops = Callable[[], asyncio.AbstractEventLoop]


async def at_once() -> None:
    pass


async def slowly() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def delivery(settling: Any = at_once) -> Receipt:
    return Receipt(Call("payload", 1.0), settling)


def raising(error: BaseException) -> Any:
    async def handler(call: Call[Any]) -> None:
        await asyncio.sleep(0)
        raise error

    return handler


@pytest.mark.parametrize("stepped", [False, True])
async def test_a_value_is_an_outcome(stepped: bool) -> None:
    async def handler(call: Call[Any]) -> str:
        return f"{call.payload} handled"

    receipt = delivery()
    assert await driven(dispatch(handler, receipt), stepped=stepped) is None
    assert receipt.outcomes == [Done("payload handled")]


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize(
    "error",
    [Fault(Code.NOT_FOUND), ValueError("a defect"), ExceptionGroup("all", [ValueError("a")])],
    ids=repr,
)
async def test_faults_and_defects_are_outcomes_and_go_no_further(
    error: Exception, stepped: bool
) -> None:
    receipt = delivery()
    assert await driven(dispatch(raising(error), receipt), stepped=stepped) is None
    assert receipt.outcomes == [Failed(error)]


@pytest.mark.parametrize("stepped", [False, True])
async def test_an_entrance_may_say_more_of_a_failure_before_it_is_settled(stepped: bool) -> None:
    fault, seen = Fault(Code.DEADLINE_EXCEEDED), []

    def amend(error: Exception, call: Call[Any]) -> None:
        seen.append((error, call, list(receipt.outcomes)))

    receipt = delivery()
    assert await driven(dispatch(raising(fault), receipt, amend), stepped=stepped) is None
    assert seen == [(fault, receipt.call, [])]
    called_off = CancelledError()
    receipt = delivery()
    work = dispatch(raising(called_off), receipt, amend)
    assert await driven(work, stepped=stepped) is called_off
    assert len(seen) == 1, "what was called off has not failed"


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        CancelledError(),
        BaseExceptionGroup("both", [CancelledError(), ValueError("a")]),
        type("Odd", (BaseException,), {})(),
    ],
    ids=repr,
)
async def test_what_is_no_ordinary_error_is_settled_and_goes_on(
    error: BaseException, stepped: bool
) -> None:
    receipt = delivery()
    assert await driven(dispatch(raising(error), receipt), stepped=stepped) is error
    assert receipt.outcomes == [Failed(error)]


def test_an_exit_is_settled_before_the_loop_is_left() -> None:
    receipt = delivery(slowly)

    async def main() -> None:
        await dispatch(raising(SystemExit(3)), receipt)

    with pytest.raises(SystemExit):
        asyncio.run(main())
    assert [type(outcome) for outcome in receipt.outcomes] == [Failed]


async def test_the_entrance_calls_the_work_off_and_is_told(loop_factory: Loops) -> None:
    receipts = [delivery(), delivery()]

    async def handler(call: Call[Any]) -> None:
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(dispatch(handler, receipts[0]))
    stepper = step(dispatch(handler, receipts[1]))
    await turns()
    for receipt in receipts:
        assert receipt.work is not None
        receipt.work.cancel()
    await turns()
    assert task.cancelled()
    assert stepper.ended
    for receipt in receipts:
        (outcome,) = receipt.outcomes
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, CancelledError)


async def test_a_delivery_that_refuses_to_begin_is_settled_too() -> None:
    class Gone(Receipt):
        def begin(self, work: Work) -> None:
            raise ConnectionResetError("the client has left")

    receipt = Gone(Call("payload", 1.0), at_once)
    await dispatch(raising(AssertionError("it was not to be tried")), receipt)
    (outcome,) = receipt.outcomes
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, ConnectionResetError)


async def test_begun_and_called_off_at_once(loop_factory: Loops) -> None:
    class Left(Receipt):
        def begin(self, work: Work) -> None:
            work.cancel()

    receipt = Left(Call("payload", 1.0), slowly)
    error = await driven(dispatch(raising(ValueError("never")), receipt), stepped=True)
    assert isinstance(error, CancelledError)
    assert len(receipt.outcomes) == 1


async def test_a_failing_settlement_is_raised_and_not_repeated() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("the broker is gone")

    for error in (None, ValueError("a defect"), CancelledError()):
        receipt = delivery(fail)

        async def handler(call: Call[Any], error: BaseException | None = error) -> None:
            if error is not None:
                raise error

        assert isinstance(await driven(dispatch(handler, receipt), stepped=False), OSError)
        assert len(receipt.outcomes) == 1


async def test_a_thrown_away_dispatch_is_not_settled_because_nobody_could_run_it() -> None:
    receipt = delivery(slowly)

    async def handler(call: Call[Any]) -> None:
        await asyncio.get_running_loop().create_future()

    coroutine = dispatch(handler, receipt)
    assert coroutine.send(None) is not None
    coroutine.close()
    assert receipt.outcomes == []


async def test_the_work_handed_over_is_what_drives() -> None:
    receipt = delivery()
    seen: list[Work] = []

    async def handler(call: Call[Any]) -> None:
        seen.append(working())

    stepper = step(dispatch(handler, receipt))
    assert seen == [receipt.work] == [stepper]


async def test_a_delivery_that_settles_at_once_has_nothing_to_wait_for() -> None:
    class Quick:
        def __init__(self) -> None:
            self.call: Call[Any] = Call("payload", 1.0)
            self.outcomes: list[Any] = []

        def begin(self, work: Work) -> None: ...

        def settle(self, outcome: Any) -> None:
            self.outcomes.append(outcome)

    async def handler(call: Call[Any]) -> str:
        return "handled"

    quick = Quick()
    await dispatch(handler, quick)
    await settled(quick, Done("again"))
    assert quick.outcomes == [Done("handled"), Done("again")]


def test_outcomes_are_what_they_hold() -> None:
    error = ValueError("a defect")
    assert {Done(1), Done(1), Done(2), Failed(error), Failed(error)} == {
        Done(1), Done(2), Failed(error),
    }  # fmt: skip
    assert Done(error) != Failed(error)
    assert Failed(error) != Failed(ValueError("a defect"))
    assert [repr(one) for one in (Done(1), Failed(error))] == [
        "Done(1)", "Failed(ValueError('a defect'))",
    ]  # fmt: skip
