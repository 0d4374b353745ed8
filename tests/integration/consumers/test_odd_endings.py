"""Consumers that end in odd ways, on a real queue: each message has its attempts and its end.

None of them may come back for ever, keep the others from being written, or end the worker.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from switchgear import Code, Fault, IdempotencyKey, Transaction
from switchgear.engines.postgres.bootstrap import Roles
from tests.integration.consumers.test_worker import Made, house, store, until


class Mute(Exception):  # noqa: N818 - it is called so
    """An exception that fails to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Panic(BaseException):
    """As native libraries raise."""


async def cancelled_by_itself() -> None:
    other = asyncio.ensure_future(asyncio.sleep(10))
    other.cancel()
    await other


def raising(error: BaseException) -> Callable[[], Any]:
    async def end() -> None:
        raise error

    return end


ENDS = {
    "ValueError: a\\0b": raising(ValueError("a\0b")),
    "ValueError: a\\udc80b": raising(ValueError("a\udc80b")),
    "unavailable: a\\0b": raising(Fault(Code.UNAVAILABLE, "a\0b")),
    "Mute, which cannot say what it is": raising(Mute()),
    "RuntimeError: something that it awaited was cancelled": cancelled_by_itself,
    "RuntimeError: it raised what is no ordinary error: SystemExit: 2": raising(SystemExit(2)),
    "RuntimeError: it raised what is no ordinary error: Panic: x": raising(Panic("x")),
    "RuntimeError: it raised what is no ordinary error: GeneratorExit: x": raising(
        GeneratorExit("x")
    ),
    "RuntimeError: it raised what is no ordinary error: KeyboardInterrupt: x": raising(
        KeyboardInterrupt("x")
    ),
}


@pytest.fixture
def in_a_role() -> Iterator[None]:
    """Ignore Ctrl-C, as a process of a role does, whose supervisor drains it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("cause", ENDS)
@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.usefixtures("in_a_role")
async def test_it_is_dead_after_its_attempts_and_its_neighbour_is_done(
    roles: Roles, cause: str, commits: bool
) -> None:
    done: list[str] = []

    async def take(made: Made, tx: Transaction) -> None:
        await store(tx, made.name)
        await bare(made, IdempotencyKey(""))

    async def bare(made: Made, key: IdempotencyKey) -> None:
        done.append(made.name)
        if made.name == "odd":
            await ENDS[cause]()

    async with house(roles) as told, told.consuming(take if commits else bare, attempts=2):
        await told.publish(b'{"name":"odd"}')
        (letter,) = await until(told.dead)
        await told.publish()
        await until(lambda: "lamp" in done)
        assert letter.cause.startswith(cause)
        assert (letter.attempts, letter.deaths) == (2, 0)
        assert sorted(done) == ["lamp", "odd", "odd"]
        assert told.failures == []
