"""What user code raises that is no ordinary error, and what becomes of it."""

import asyncio
import signal
from asyncio import CancelledError
from typing import Any

import pytest

from switchgear.core.confining import confine, confined
from switchgear.core.drivers import Work, working
from switchgear.policy.fault import Code, Fault

MISSING = Fault(Code.NOT_FOUND, "no row")


class Panic(BaseException):
    """As native libraries raise."""


@pytest.mark.parametrize(
    "error", [MISSING, ValueError("a defect"), KeyboardInterrupt(), GeneratorExit()], ids=repr
)
async def test_ordinary_errors_and_who_ends_all_go_on(error: BaseException) -> None:
    assert confined(error) is None


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL, lambda *_: None])
async def test_an_interrupt_that_no_keyboard_can_cause_is_a_defect(handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        defect = confined(KeyboardInterrupt("stop"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert str(defect) == "it raised what is no ordinary error: KeyboardInterrupt: stop"


async def test_nor_can_one_reach_a_loop_of_another_thread() -> None:
    async def inside() -> Exception | None:
        return confined(KeyboardInterrupt())

    def loop() -> Exception | None:
        return asyncio.run(inside())

    assert isinstance(await asyncio.to_thread(loop), RuntimeError)


def test_where_a_second_one_would_raise_it_goes_on() -> None:
    async def inside() -> Exception | None:
        handler = signal.getsignal(signal.SIGINT)
        assert handler is not signal.default_int_handler  # asyncio's own: the first cancels
        return confined(KeyboardInterrupt())

    assert asyncio.run(inside()) is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CancelledError(), "something that it awaited was cancelled, and nobody called it off"),
        (SystemExit(2), "it raised what is no ordinary error: SystemExit: 2"),
        (Panic("index"), "it raised what is no ordinary error: Panic: index"),
        (
            BaseExceptionGroup("both", [CancelledError(), ValueError("x")]),
            "it raised what is no ordinary error: BaseExceptionGroup: both (2 sub-exceptions)",
        ),
    ],
    ids=repr,
)
async def test_what_nobody_asked_for_is_a_defect(error: BaseException, words: str) -> None:
    defect = confined(error)
    assert isinstance(defect, RuntimeError)
    assert str(defect) == words
    assert defect.__cause__ is error


async def test_a_group_that_declares_a_fault_is_that_fault() -> None:
    fault = confined(BaseExceptionGroup("both", [CancelledError(), MISSING]))
    assert isinstance(fault, Fault)
    assert (fault.code, fault.detail) == (Code.NOT_FOUND, "no row")


async def called_off(error: BaseException) -> Exception | None:
    """Have work that is called off raise `error`, and return what that amounts to."""

    async def work() -> Exception | None:
        try:
            await asyncio.sleep(10)
        except CancelledError:
            return confined(error)
        raise AssertionError("it was not called off")

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    return await task


@pytest.mark.parametrize("error", [CancelledError(), Panic()], ids=repr)
async def test_what_comes_of_work_that_was_called_off_goes_on(error: BaseException) -> None:
    assert await called_off(error) is None


async def test_an_exit_goes_on_nowhere_for_it_would_end_the_loop() -> None:
    assert isinstance(await called_off(SystemExit(2)), RuntimeError)


async def test_confining_raises_the_defect_and_leaves_what_goes_on_to_its_catcher() -> None:
    confine(MISSING, working())
    stray = CancelledError()
    with pytest.raises(RuntimeError, match="nobody called it off") as caught:
        confine(stray, working())
    assert caught.value.__cause__ is stray


async def test_the_end_of_a_generator_is_a_defect_in_the_hands_of_who_drives_the_code() -> None:
    """In those of anybody else, or of nobody, it tells that the code was thrown away."""

    async def another() -> Work:
        return working()

    assert isinstance(confined(GeneratorExit(), working()), RuntimeError)
    assert confined(GeneratorExit(), await asyncio.ensure_future(another())) is None


def test_nor_is_it_one_where_nothing_drives_the_code() -> None:
    async def inside() -> Work:
        return working()

    assert confined(GeneratorExit(), asyncio.run(inside())) is None
