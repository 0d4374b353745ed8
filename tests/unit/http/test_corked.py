"""What is written in one turn of the loop leaves together, whole and in order."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from switchgear.http.corked import ENOUGH, FRESH, Corked, corked, outbox_of
from tests.support.transport import Transport

BIG = b"x" * ENOUGH


class Deaf(asyncio.Protocol):
    """Is told and does nothing."""

    def eof_received(self) -> bool:
        return False


class Kept(Transport):
    """Keeps what is done to it, in order."""

    def __init__(self) -> None:
        super().__init__(Deaf())
        self.done: list[Any] = []
        self.raw: socket.socket | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.raw if name == "socket" else super().get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.done.append(data)

    def writelines(self, list_of_data: Any) -> None:
        self.done.append(list(list_of_data))

    def write_eof(self) -> None:
        self.done.append("eof")

    def close(self) -> None:
        self.done.append("close")
        self.closed = True

    def abort(self) -> None:
        self.done.append("abort")
        self.closed = True


class Noted(list[Any]):
    """Notes what comes in an order that several share."""

    def __init__(self, order: list[tuple[int, Any]], number: int) -> None:
        super().__init__()
        self.order = order
        self.number = number

    def append(self, data: Any) -> None:
        self.order.append((self.number, data))


def made() -> tuple[Corked, Kept]:
    kept = Kept()
    return corked(kept, asyncio.get_running_loop()), kept


@contextmanager
def held_up() -> Iterator[tuple[Corked, Kept]]:
    """Give one that has been written to, while something unread lies in the kernel."""
    near, far = socket.socketpair()
    with near, far:
        one, kept = made()
        kept.raw = near
        far.send(b"x")
        one.fresh = FRESH
        one.write(b"a")
        yield one, kept


async def test_small_writes_of_one_turn_are_one() -> None:
    one, kept = made()
    one.write(b"a")
    one.write(b"")
    one.write(b"b")
    assert (kept.done, one.held, one.get_write_buffer_size()) == ([], b"ab", 2)
    await asyncio.sleep(0)
    assert (kept.done, one.held, one.get_write_buffer_size()) == ([b"ab"], b"", 0)
    one.write(b"c")
    await asyncio.sleep(0)
    assert kept.done == [b"ab", b"c"]
    one.write(b"")
    await asyncio.sleep(0)
    assert kept.done == [b"ab", b"c"]


async def test_each_connection_has_its_own_bytes_in_the_order_in_which_they_wrote() -> None:
    order: list[tuple[int, bytes]] = []
    several = [made() for _ in range(3)]
    for number, (one, kept) in enumerate(several):
        kept.done = Noted(order, number)
        one.write(b"a%d" % number)
    several[0][0].write(b"b0")
    await asyncio.sleep(0)
    assert order == [(0, b"a0b0"), (1, b"a1"), (2, b"a2")]


async def test_what_is_worth_it_leaves_at_once_behind_what_was_held() -> None:
    one, kept = made()
    one.write(BIG)
    assert kept.done == [BIG]
    one.write(b"a")
    one.write(BIG)
    one.write(b"b")
    assert kept.done == [BIG, [b"a", BIG]]
    await asyncio.sleep(0)
    assert kept.done == [BIG, [b"a", BIG], b"b"]


@pytest.mark.parametrize("first", [b"a", BIG])
async def test_a_question_is_held_to_the_end_of_the_turn_whatever_its_size(first: bytes) -> None:
    one, kept = made()
    one.fresh = FRESH
    one.write(first)
    assert (kept.done, bool(one.fresh)) == ([], True)
    await asyncio.sleep(0)
    assert (kept.done, one.fresh) == ([first], 0)
    one.write(BIG)
    assert kept.done == [first, BIG], "what follows it is not"


async def test_a_question_does_not_hold_more_than_it_must() -> None:
    one, kept = made()
    one.fresh = FRESH
    for _ in range(10):
        one.write(BIG)
        assert len(one.held) <= len(BIG)
    assert kept.done == [[BIG, BIG], *[BIG] * 7, BIG]


async def test_what_lies_in_the_kernel_is_waited_for_but_not_for_ever() -> None:
    """It is read by the end of the next turn, or of the one behind it."""
    with held_up() as (one, kept):
        turns = 0
        while not kept.done:
            await asyncio.sleep(0)
            turns += 1
        assert (kept.done, turns, one.fresh) == ([b"a"], 3, 0)
        one.write(b"b")
        await asyncio.sleep(0)
        assert kept.done == [b"a", b"b"]


async def test_of_one_that_is_closing_the_kernel_is_not_asked() -> None:
    """The number of its descriptor may be that of another connection by now."""
    with held_up() as (one, kept):
        kept.closed = True
        await asyncio.sleep(0)
        assert (kept.done, one.held) == ([], b"")


async def test_many_that_wait_for_what_lies_in_the_kernel_wait_a_turn_each() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        several = [made() for _ in range(100)]
        for one, kept in several:
            kept.raw = near
            one.fresh = FRESH
            one.write(b"a")
        assert [kept.done for _, kept in several] == [[]] * 100
        await asyncio.sleep(0)
        assert [kept.done for _, kept in several] == [[]] * 100
        for one, _ in several:
            one.drop()


async def test_many_small_ones_are_not_held_for_ever() -> None:
    one, kept = made()
    for _ in range(100):
        one.write(b"x" * 1000)
        assert len(one.held) < ENOUGH
    assert sum(len(b"".join(each)) for each in kept.done) + len(one.held) == 100_000


async def test_who_was_first_does_not_wait_for_all_the_others() -> None:
    first, kept = made()
    first.write(b"a")
    for _ in range(40):
        made()[0].write(b"b")
    assert kept.done == [b"a"]


@pytest.mark.parametrize(
    ("act", "done"),
    [
        (Corked.close, [b"a", "close"]),
        (Corked.abort, [b"a", "abort"]),
        (Corked.write_eof, [b"a", "eof"]),
        (Corked.flush, [b"a"]),
        (Corked.drop, []),
    ],
)
async def test_what_comes_after_a_write_finds_it_written(act: Any, done: list[Any]) -> None:
    one, kept = made()
    one.write(b"a")
    act(one)
    await asyncio.sleep(0)
    assert kept.done == done


async def test_what_its_owner_changes_later_was_written_before() -> None:
    one, kept = made()
    changing = bytearray(b"abc")
    one.write(memoryview(changing))
    changing[:] = b"xyz"
    await asyncio.sleep(0)
    assert kept.done == [b"abc"]


async def test_nothing_is_written_to_a_connection_that_was_lost_meanwhile() -> None:
    one, kept = made()
    one.write(b"a")
    kept.closed = True
    await asyncio.sleep(0)
    assert kept.done == []
    one.write(BIG)  # what leaves at once does not either
    one.write(b"a")
    one.write(BIG)
    await asyncio.sleep(0)
    assert kept.done == []


async def test_one_that_cannot_write_does_not_keep_the_others_from_it() -> None:
    seen: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: seen.append(told))
    broken, (one, kept) = corked(None, asyncio.get_running_loop()), made()
    broken.write(b"a")
    one.write(b"b")
    await asyncio.sleep(0)
    assert kept.done == [b"b"]
    assert [told["message"] for told in seen] == ["what was held could not be written"]


async def test_a_loop_has_one_outbox() -> None:
    assert outbox_of(asyncio.get_running_loop()) is outbox_of(asyncio.get_running_loop())


def test_the_loops_of_two_threads_write_at_once() -> None:
    """The one is amid a write, which lets the other thread run, when the other writes, too."""
    begun, done = threading.Event(), threading.Event()

    class Slow(Kept):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            begun.set()
            assert done.wait(5)

    async def slow() -> list[Any]:
        kept = Slow()
        corked(kept, asyncio.get_running_loop()).write(b"a")
        await asyncio.sleep(0)
        return kept.done

    async def quick() -> list[Any]:
        assert begun.wait(5)
        one, kept = made()
        one.write(b"b")
        await asyncio.sleep(0)
        done.set()
        return kept.done

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.submit(asyncio.run, slow()), threads.submit(asyncio.run, quick())
        assert (first.result(10), second.result(10)) == ([b"a"], [b"b"])
