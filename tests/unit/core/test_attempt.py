"""Attempts that did not simply go well: what they mean, what follows, and who still holds what."""

import asyncio
import threading
from math import inf
from typing import Any

import pytest

from switchgear.core.attempt import code_of, meaning, passed_on, translated
from switchgear.core.kit import Kit
from switchgear.core.observe import Overran
from switchgear.core.permits import Held
from switchgear.core.tally import Tally
from switchgear.core.threads import Threads, lingering
from switchgear.core.zombies import bring_home
from switchgear.policy.bulkhead import Bulkhead
from switchgear.policy.fault import Code, Fault
from switchgear.policy.gate import ANYONE, Permit
from switchgear.policy.verdict import BAD, BAD_AGAIN, GOOD, NEUTRAL
from switchgear.testing import EventRecorder
from tests.support.core import Door


def held(*gates: Any) -> Held:
    """Return permits of gates, the last one innermost."""
    chain: Held = None
    for gate in gates:
        permit = gate.admit(ANYONE, 0.0)
        assert isinstance(permit, Permit)
        chain = (gate, permit, chain)
    return chain


# -- names and meanings


def test_a_failure_is_named_by_its_code_or_its_type() -> None:
    assert code_of(Fault(Code.NOT_FOUND)) == "not_found"
    assert code_of(ConnectionResetError()) == "ConnectionResetError"


def test_an_error_means_what_it_says_unless_another_policy_has_given_up_on_it() -> None:
    assert meaning(ConnectionResetError(), "mail", 0.0, inf, inf) == BAD_AGAIN
    assert meaning(KeyError(), "mail", 0.0, inf, inf) == BAD
    assert meaning(Fault(Code.UNAVAILABLE), "mail", 0.0, inf, inf) == BAD_AGAIN
    assert meaning(Fault(Code.UNAVAILABLE).passed_on("other"), "mail", 0.0, inf, inf) == NEUTRAL


def test_who_has_given_up_is_written_on_an_exception_for_as_long_as_the_call_goes_on() -> None:
    error = ConnectionResetError()
    assert passed_on(error, error, ("bank", 2.0, inf), 1.0, inf) is error
    assert passed_on(error, error, ("shop", 2.5, inf), 0.5, inf) is error, (
        "around it: the first one stays"
    )
    assert meaning(error, "shop", 0.5, inf, inf) == NEUTRAL
    assert meaning(error, "shop", 2.0, inf, inf) == NEUTRAL
    assert meaning(error, "bank", 1.0, inf, inf) == BAD_AGAIN, "it has given up on it itself"
    assert meaning(error, "shop", 2.1, inf, inf) == BAD_AGAIN, "raised once more, by a later call"
    assert passed_on(error, error, ("shop", 3.0, inf), 2.1, inf) is error
    assert meaning(error, "web", 2.05, inf, inf) == NEUTRAL
    assert meaning(error, "bank", 2.05, inf, inf) == NEUTRAL


def test_who_has_given_up_side_by_side_had_more_time_around_it() -> None:
    """One connection is lost, and one exception raised in all who wait for it."""
    error = ConnectionResetError()
    passed_on(error, error, ("writes", 2.0, inf), 1.0, 4.0)
    assert meaning(error, "reads", 1.0, 3.0, inf) == BAD_AGAIN, "nothing was around it: not in ours"
    assert meaning(error, "reads", 1.0, inf, inf) == NEUTRAL, "who sets no deadline cannot tell"
    passed_on(error, error, ("reads", 2.5, 5.0), 1.0, 3.0)
    assert meaning(error, "web", 1.0, 5.0, inf) == NEUTRAL, "that one was within, at most"
    assert meaning(error, "web", 1.0, 4.9, inf) == BAD_AGAIN
    passed_on(error, error, ("layered", 2.6, -inf), 2.55, 3.0)
    assert meaning(error, "web", 2.55, 2.7, inf) == NEUTRAL


def test_one_call_of_a_policy_is_within_another_if_it_had_the_time_which_that_has_set() -> None:
    error = ConnectionResetError()
    passed_on(error, error, ("mail", 2.0, 3.0), 1.0, 2.5)
    assert meaning(error, "mail", 1.0, 3.0, inf) == NEUTRAL
    assert meaning(error, "mail", 1.0, 3.1, inf) == BAD_AGAIN, "side by side, of less time"
    assert meaning(error, "mail", 1.0, 3.0, 3.0) == BAD_AGAIN, "both of what was around them"
    passed_on(error, error, ("mail", 2.2, 5.0), 1.0, 3.0)
    assert meaning(error, "mail", 1.0, 5.0, inf) == NEUTRAL, "and of the next one around that"
    assert meaning(error, "mail", 1.0, 3.0, inf) == BAD_AGAIN
    assert meaning(error, "mail", 2.1, 5.0, inf) == BAD_AGAIN, "the first gave up before it began"


def test_an_exception_is_marked_past_what_its_class_forbids() -> None:
    class FrozenError(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    error = FrozenError()
    assert passed_on(error, error, ("bank", 1.0, inf), 0.0, inf) is error
    assert meaning(error, "shop", 0.0, inf, inf) == NEUTRAL
    assert passed_on(SystemExit(), end := SystemExit(), ("bank", 1.0, inf), 0.0, inf) is end
    assert not end.__dict__


# -- translators


def test_a_translator_is_asked_about_what_is_no_fault() -> None:
    error, fault = KeyError(), Fault(Code.ABORTED)
    asked: list[Exception] = []

    def translate(error: Exception) -> Exception | None:
        asked.append(error)
        return fault

    assert translated(None, error) is error
    assert translated(translate, error) is fault
    for other in (Fault(Code.NOT_FOUND), asyncio.CancelledError(), GeneratorExit()):
        assert translated(translate, other) is other
    assert asked == [error]


def test_a_translator_that_knows_nothing_or_fails() -> None:
    error = ValueError()
    assert translated(lambda _: None, error) is error

    def broken(error: Exception) -> Exception | None:
        raise KeyError("a defect")

    try:
        raise error
    except ValueError:
        defect = translated(broken, error)
    assert isinstance(defect, KeyError)
    assert defect.__context__ is error, "what it was asked about is told, too"


# -- permits that come home, or stay out for a thread


def test_permits_come_home_down_to_those_of_the_whole_call() -> None:
    outer, learns, bounds = Door("outer"), Door("learns"), Bulkhead("bounds")
    whole = held(outer)
    chain = whole
    for gate in (learns, bounds):
        permit: Any = gate.admit(ANYONE, 0.0)
        chain = (gate, permit, chain)
    tally = Tally()
    bring_home(Kit("mail"), tally, chain, BAD, 1.0, whole)
    assert learns.verdicts == [BAD]
    assert outer.verdicts == []
    assert bounds.out == 0
    bring_home(Kit("mail"), tally, whole, GOOD, 1.0)
    assert outer.verdicts == [GOOD]
    assert tally.zombies == tally.overran == 0


async def left_in(pool: Threads, go: threading.Event) -> asyncio.CancelledError:
    """Leave a function in a thread, and return what tells of it."""
    begun = threading.Event()

    def block() -> None:
        begun.set()
        assert go.wait(20.0)

    task = asyncio.create_task(pool.run(block))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value


async def test_what_bounds_stays_out_until_the_thread_has_ended_and_the_rest_learns_now() -> None:
    recorder, tally = EventRecorder(), Tally()
    kit = Kit("mail", recorder)
    outer, learns, bounds = Door("outer"), Door("learns"), Bulkhead("bounds")
    go, pool = threading.Event(), Threads("mail", 1)
    try:
        left = lingering(await left_in(pool, go))
        assert left is not None
        whole = held(outer)
        chain = whole
        for gate in (learns, bounds):
            permit: Any = gate.admit(ANYONE, 0.0)
            chain = (gate, permit, chain)
        bring_home(kit, tally, chain, BAD, 1.0, whole, left)
        assert learns.verdicts == [BAD]
        assert outer.verdicts == []
        assert (bounds.out, tally.zombies, tally.overran) == (1, 1, 1)
        assert recorder.events == [Overran("mail", 0.0)]
        go.set()
        while tally.zombies:
            await asyncio.sleep(0.001)
        assert bounds.out == 0
        assert learns.verdicts == [BAD], "once"
        assert tally.overran == 1
        chain = held(learns, bounds)
        bring_home(kit, tally, chain, NEUTRAL, 2.0, left=left)
        assert bounds.out == tally.zombies == 0, "it has ended: nothing has to wait for it"
        assert recorder.count(Overran) == 1
    finally:
        go.set()
        pool.close()
