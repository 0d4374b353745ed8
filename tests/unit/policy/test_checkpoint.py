"""Checkpoints, in situations."""

import pytest

from switchgear.policy.checkpoint import Checkpoint


def taken(*offsets: int, reached: int = -1) -> Checkpoint:
    checkpoint = Checkpoint(reached)
    for offset in offsets:
        checkpoint.take(offset)
    return checkpoint


def test_nothing_is_reached_at_first() -> None:
    assert Checkpoint().reached == -1
    assert Checkpoint(41).reached == 41
    assert Checkpoint().pending == 0


def test_records_settled_in_order_are_reached_one_by_one() -> None:
    checkpoint = taken(0, 1, 2)
    assert checkpoint.pending == 3
    assert checkpoint.settle(0) is True
    assert (checkpoint.reached, checkpoint.pending) == (0, 2)
    assert checkpoint.settle(1) is True
    assert checkpoint.settle(2) is True
    assert (checkpoint.reached, checkpoint.pending) == (2, 0)


def test_what_has_a_gap_before_it_is_not_reached_until_the_gap_closes() -> None:
    checkpoint = taken(1, 2, 3, 4, 5)
    assert [checkpoint.settle(offset) for offset in (2, 5, 4)] == [False] * 3
    assert (checkpoint.reached, checkpoint.pending) == (-1, 5)
    assert checkpoint.settle(1) is True
    assert (checkpoint.reached, checkpoint.pending) == (2, 3)
    assert checkpoint.settle(3) is True
    assert (checkpoint.reached, checkpoint.pending) == (5, 0)


def test_offsets_may_leave_some_out() -> None:
    checkpoint = taken(10, 20, 30, reached=7)
    checkpoint.settle(20)
    assert checkpoint.reached == 7
    checkpoint.settle(10)
    assert checkpoint.reached == 20


@pytest.mark.parametrize("offset", [3, 2])
def test_a_record_is_not_taken_twice_nor_behind_another(offset: int) -> None:
    checkpoint = taken(3)
    with pytest.raises(ValueError, match=f"offset {offset} was taken behind 3"):
        checkpoint.take(offset)
    assert checkpoint.pending == 1


def test_a_record_is_not_taken_behind_what_was_reached() -> None:
    checkpoint = Checkpoint(7)
    with pytest.raises(ValueError, match="offset 7 was taken behind 7"):
        checkpoint.take(7)
    checkpoint.take(8)
    assert checkpoint.pending == 1


def test_the_order_is_that_of_the_last_taken_not_of_the_first() -> None:
    checkpoint = taken(3, 9)
    with pytest.raises(ValueError, match="offset 5 was taken behind 9"):
        checkpoint.take(5)


@pytest.mark.parametrize("offset", [0, 2, 4])
def test_what_is_not_out_is_not_settled(offset: int) -> None:
    checkpoint = taken(1, 2, 3)
    checkpoint.settle(1)
    checkpoint.settle(2)
    with pytest.raises(ValueError, match=f"offset {offset} is not out"):
        checkpoint.settle(offset)
    assert (checkpoint.reached, checkpoint.pending) == (2, 1)


def test_what_waits_for_an_earlier_one_is_not_settled_twice() -> None:
    checkpoint = taken(1, 2)
    checkpoint.settle(2)
    with pytest.raises(ValueError, match="offset 2 is not out"):
        checkpoint.settle(2)
    assert checkpoint.settle(1) is True
    assert checkpoint.reached == 2


def test_an_offset_that_comes_again_after_it_was_reached_is_a_new_one() -> None:
    checkpoint = taken(1)
    checkpoint.settle(1)
    checkpoint.reached = 0  # a log that was wound back
    checkpoint.take(1)
    assert checkpoint.settle(1) is True
