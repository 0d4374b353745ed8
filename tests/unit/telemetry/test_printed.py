"""What is printed: it comes out in order, and no reader of it, or none at all, stops anybody."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from switchgear.telemetry.printed import Flood, Printed


class Pipe:
    """A pipe in the place of standard output and error."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self.writing = writing

    def read(self) -> str:
        return os.read(self.reading, 1 << 20).decode()

    def stop_reading(self) -> None:
        with suppress(BlockingIOError):
            while True:
                os.write(self.writing, b"x" * 4096)

    def leave(self) -> None:
        os.close(self.reading)
        self.reading = -1


@contextmanager
def piped() -> Iterator[Pipe]:
    """Have both streams lead into a pipe; in the test itself, since pytest sets them before it."""
    pipe = Pipe(*os.pipe())
    for descriptor in (pipe.reading, pipe.writing):
        os.set_blocking(descriptor, False)  # whatever would wait for the other side fails instead
    with ExitStack() as held, pytest.MonkeyPatch.context() as patch:
        for name in ("stdout", "stderr"):
            stream = held.enter_context(os.fdopen(os.dup(pipe.writing), "w", encoding="utf-8"))
            patch.setattr(sys, name, stream)
        yield pipe
    os.close(pipe.writing)
    if pipe.reading >= 0:
        pipe.leave()


def test_lines_of_both_streams_come_out_in_order_and_the_last_one_too() -> None:
    with piped() as pipe:
        before = sys.stdout, sys.stderr
        printed = Printed()
        print("one", "ä")
        print("two", file=sys.stderr)
        print()
        print("three, not ended", end="")
        assert (sys.stdout.fileno(), sys.stdout.isatty()) == (before[0].fileno(), False)
        held = sys.stdout
        printed.close()
        assert (sys.stdout, sys.stderr) == before
        print("directly", file=held)
        assert pipe.read() == "one ä\ntwo\n\nthree, not ended\ndirectly\n"


def test_a_reader_that_has_gone_fails_no_print() -> None:
    with piped() as pipe:
        printed = Printed()
        pipe.leave()
        for _ in range(3):
            print("to nobody", flush=True)
            print("to nobody", file=sys.stderr, flush=True)
        printed.close()
        assert printed.dropped == 6


def test_a_flood_is_told_of_when_it_is_over() -> None:
    dropped = iter([0, 3, 9, 9, 9, 12, 12])
    flood = Flood(lambda: next(dropped))
    assert [flood.over() for _ in range(7)] == [0, 0, 0, 9, 0, 0, 3]


def test_a_flood_that_goes_on_is_told_of_by_and_by_and_at_the_end() -> None:
    looks = 0

    def dropped() -> int:
        nonlocal looks
        looks += 1
        return 10 * looks

    flood = Flood(dropped)
    told = [flood.over() for _ in range(130)]
    assert {look: lost for look, lost in enumerate(told, 1) if lost} == {60: 600, 120: 600}
    assert flood.over(last=True) == 110
    assert Flood(lambda: 0).over(last=True) == 0


def test_a_reader_that_stands_still_keeps_no_print_waiting() -> None:
    before = threading.enumerate()
    with piped() as pipe:
        pipe.stop_reading()
        printed = Printed()
        for _ in range(3):
            print("w" * 9000, flush=True)
        printed.close(timeout=0.01)  # and no end
        pipe.leave()
        for writing in threading.enumerate():
            if writing not in before:  # its descriptor's number will be another test's
                writing.join(10.0)
                assert not writing.is_alive()


def test_a_line_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who prints dots for days would have all of them held."""
    monkeypatch.setattr("switchgear.telemetry.printed._LONGEST", 10)
    with piped() as pipe:
        printed = Printed()
        print("." * 11, end="", flush=True)
        print("the next")
        printed.close()
        assert pipe.read() == "...........\nthe next\n"


def test_a_process_that_is_forked_off_prints_by_itself() -> None:
    with piped() as pipe:
        printed = Printed()
        print("a line of the parent's", end="")
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            print("a line of the child's", flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert pipe.read() == "a line of the child's\n"
        printed.close()
        assert pipe.read() == "a line of the parent's\n"


def test_what_is_no_stream_of_the_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    printed = Printed()
    assert (sys.stdout, sys.stderr) == (None, None)
    printed.close()
