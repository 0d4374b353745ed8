"""What user code raises that is no ordinary error, and what becomes of it."""

import asyncio
from asyncio import CancelledError

import pytest

from switchgear.core.confining import confine, confined
from switchgear.policy.fault import Code, Fault

MISSING = Fault(Code.NOT_FOUND, "no row")


class Panic(BaseException):
    """As native libraries raise."""


@pytest.mark.parametrize(
    "error", [MISSING, ValueError("a defect"), KeyboardInterrupt(), GeneratorExit()], ids=repr
)
async def test_ordinary_errors_and_who_ends_all_go_on(error: BaseException) -> None:
    assert confined(error) is None


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


@pytest.mark.parametrize("error", [CancelledError(), SystemExit(2), Panic()], ids=repr)
async def test_what_comes_of_work_that_was_called_off_goes_on(error: BaseException) -> None:
    async def work() -> Exception | None:
        try:
            await asyncio.sleep(10)
        except CancelledError:
            return confined(error)
        raise AssertionError("it was not called off")

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    assert await task is None


async def test_confining_raises_the_defect_and_leaves_what_goes_on_to_its_catcher() -> None:
    confine(MISSING)
    stray = CancelledError()
    with pytest.raises(RuntimeError, match="nobody called it off") as caught:
        confine(stray)
    assert caught.value.__cause__ is stray
