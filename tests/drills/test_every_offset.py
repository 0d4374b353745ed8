"""The fault proxy strikes at every byte of an upstream's answer; what does the client get?

    client --keep-alive--> gateway (door, lane, pool) --> fault proxy --> upstream

For each offset of head and body, and each of cut, reset, hang, a changed byte, an added byte and a
pause: a request, and on the same connection a second one for something else. What the client gets
is the whole answer, a problem document with its code, or a connection that is cut where the head
was sent already; and never a byte of the other answer. No length and no reset can tell a byte
that was changed within a counted body, nor that a body which lasts until the connection closes was
closed too early: of these, the framing alone is looked at.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.drills.offsets import (
    DEADLINE,
    FAULTS,
    SHAPES,
    Case,
    Got,
    Outcome,
    Shape,
    body_of,
    marker_of,
    standing,
)

AT_ONCE = 5  # cases at a time: how late our own loop may run is not what is looked at
HANGING_AT_ONCE = 16  # they do little else, once they have begun
APART = 0.03  # seconds between the beginnings of two of them
BATCH = 400
TOLERANCE = 0.25
LATE_LOOP = 0.1  # seconds; a case in which our own loop was later says nothing, and is run again
AGAIN = 12
TYPED = {(502, "unavailable")}
LATE = {(504, "deadline_exceeded")}  # where something was awaited that never came


def matrix(stride: int, shapes: Sequence[Shape] = SHAPES) -> Iterator[Case]:
    """Yield the cases: of all offsets, or of one in `stride` and where something begins or ends."""
    number = 0
    for shape in shapes:
        size, head = len(shape.wire(marker_of("a", 0))), len(shape.head)
        edges = {0, 1, head - 1, head, head + 1, size - 1, size}
        for place, fault in enumerate(FAULTS):
            for offset in range(size + 1):
                if (offset + place) % stride and offset not in edges:
                    continue
                if fault == "slice" and not 0 < offset < size:
                    continue
                yield Case(number, shape, fault, offset)
                number += 1
        for _ in range(3):
            yield Case(number, shape, "", 0)
            number += 1


async def ran(cases: list[Case], attempts: int, seed: int, least: int = 0) -> list[Outcome]:
    """Run all cases, and those again that say nothing, on a stand that knows nothing of before."""
    outcomes: list[Outcome] = []
    past = 0
    for _ in range(AGAIN):
        late: list[Case] = []
        for at in range(0, len(cases), BATCH):
            found, spliced = await together(cases[at : at + BATCH], attempts, seed, least)
            past += spliced
            for outcome in found:
                if outcome.late > LATE_LOOP:
                    late.append(outcome.case)
                    untrue = list(lies(outcome))
                    assert not untrue, f"{outcome.case.where}: {untrue}"
                else:
                    outcomes.append(outcome)
        cases = late
        if not cases:
            assert bool(past) is bool(least), f"INVALID: {past} answers went past us"
            return outcomes
    raise AssertionError(f"INVALID: the machine is too busy, {len(cases)} cases say nothing")


async def together(
    cases: list[Case], attempts: int, seed: int, least: int
) -> tuple[list[Outcome], int]:
    """Run cases side by side; return what became of them, and how many answers went past us."""
    turns = [asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(HANGING_AT_ONCE)]
    tasks: list[asyncio.Task[Outcome]] = []
    async with standing(cases, attempts, seed, least) as stand:

        async def one(case: Case) -> Outcome:
            async with turns[case.fault == "hang"]:
                return await stand.run(case)

        for hang in (True, False):
            async with asyncio.TaskGroup() as group:
                for case in cases:
                    if (case.fault == "hang") is hang:
                        tasks.append(group.create_task(one(case)))
                        await asyncio.sleep(APART if hang else 0)
        spliced = stand.gateway.counters.spliced
    return [task.result() for task in tasks], spliced


def kind(got: Got) -> str:
    if got.end == "complete":
        return "typed" if got.told() else "answered"
    return got.end


def lies(outcome: Outcome) -> Iterator[str]:
    """Yield what is not true of an answer, however busy the machine is."""
    case = outcome.case
    for got, letter, other in ((outcome.first, "a", "b"), (outcome.second, "b", "a")):
        if marker_of(other, case.number).encode() in got.body:
            yield "bytes of the other answer"
        if got.end not in ("complete", "cut"):
            yield f"an answer that is none: {got.end}"
        elif got.end == "cut" and not got.status:
            yield "cut without a word"
        body = body_of(marker_of(letter, case.number))
        if got.end == "complete" and not got.told() and not faithful(case, got, body):
            yield f"complete, and is {got.status} {got.body!r}"


def wrong(outcome: Outcome, *, retried: bool) -> Iterator[str]:
    """Yield what may not be."""
    case = outcome.case
    yield from lies(outcome)
    late = case.fault in ("hang", "flip", "insert")
    for got in (outcome.first, outcome.second):
        if got.seconds > DEADLINE + TOLERANCE:
            yield f"no outcome for {got.seconds:.3f} s"
        if got.told() and (got.status, got.told()) not in (TYPED | LATE if late else TYPED):
            yield f"a fault {got.status} {got.told()}"
    if kind(outcome.first) not in expected(case, retried=retried):
        yield f"the first request was {kind(outcome.first)} ({outcome.first.status})"


def faithful(case: Case, got: Got, body: bytes) -> bool:
    """Say whether a complete answer is what the upstream sent, as far as anybody can know."""
    if case.fault in ("flip", "insert"):
        changed = sum(one != two for one, two in zip(got.body, body, strict=False))
        if len(got.body) == len(body):
            return changed <= 1
        extra = len(got.body) == len(body) + 1
        return case.fault == "insert" and case.shape.name == "until close" and extra
    if case.fault == "cut" and case.shape.name == "until close":
        return got.status == 200 and body.startswith(got.body)
    return got.status == 200 and got.body == body


def expected(case: Case, *, retried: bool) -> set[str]:
    """Return how the first request may end."""
    head, size = len(case.shape.head), len(case.shape.wire(marker_of("a", 0)))
    if case.fault in ("", "slice") or (case.offset >= size and case.fault != "insert"):
        lasts = case.shape.name == "until close" and case.fault in ("hang", "reset")
        return {"answered", "cut", "typed"} if lasts else {"answered"}
    if case.fault in ("flip", "insert"):
        return {"answered", "typed", "cut"}
    if case.offset < head:
        return {"answered"} if retried else {"typed"}
    if case.fault == "cut" and case.shape.name == "until close":
        return {"answered"}
    # The head may have been sent, or not yet: then it is told in words, and tried again.
    return {"cut", "answered", "typed"} if retried else {"cut", "typed"}


def judged(outcomes: list[Outcome], *, retried: bool, seed: int) -> None:
    injected: Counter[str] = Counter()
    ends: Counter[tuple[str, str, str]] = Counter()
    bad: list[str] = []
    for outcome in outcomes:
        case = outcome.case
        injected[case.fault or "control"] += outcome.injected
        ends[case.shape.name, case.fault or "control", kind(outcome.first)] += 1
        bad += [f"{case.where}: {one}" for one in wrong(outcome, retried=retried)]
    slowest = max(max(one.first.seconds, one.second.seconds) for one in outcomes)
    print(f"\nseed {seed}; {len(outcomes)} cases, attempts {'3' if retried else '1'}")
    latest = max(one.late for one in outcomes)
    print(f"our own loop was late by {latest:.3f} s in one of them, and no later in any")
    print(f"the slowest outcome came after {slowest:.3f} s of {DEADLINE + TOLERANCE:.3f} s")
    for (shape, fault, end), count in sorted(ends.items()):
        print(f"  {shape:12} {fault:8} {end:9} {count}")
    assert injected["control"] == 0
    missing = [fault for fault in FAULTS if not injected[fault]]
    assert not missing, f"INVALID: {missing} never took: {injected}"
    assert not bad, f"{len(bad)} of {len(outcomes)}:\n" + "\n".join(bad[:40])


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_no_byte_that_is_changed_or_added_makes_one_answer_the_other(shape: Shape) -> None:
    """Else the drill would take what it did itself for the bytes of another answer."""
    for letter, other in ("ab", "ba"):
        wire, forged = shape.wire(marker_of(letter, 188)), marker_of(other, 188).encode()
        for at in range(len(wire) + 1):
            for byte in range(256):
                assert forged not in wire[:at] + bytes([byte]) + wire[at + 1 :]
                assert forged not in wire[:at] + bytes([byte]) + wire[at:]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("attempts", [1, 3])
async def test_faults_at_some_offsets_are_told_or_mended(loop_factory: Any, attempts: int) -> None:
    seed = secrets.randbits(32)
    outcomes = await ran(list(matrix(14)), attempts, seed)
    judged(outcomes, retried=attempts > 1, seed=seed)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("attempts", [1, 3])
async def test_faults_at_every_offset_are_told_or_mended(loop_factory: Any, attempts: int) -> None:
    seed = secrets.randbits(32)
    outcomes = await ran(list(matrix(1)), attempts, seed)
    judged(outcomes, retried=attempts > 1, seed=seed)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("attempts", [1, 3])
async def test_faults_in_what_goes_past_us_are_told_or_mended(
    loop_factory: Any, attempts: int
) -> None:
    """What comes of a body behind its head goes from socket to socket, and is as safe."""
    seed = secrets.randbits(32)
    outcomes = await ran(list(matrix(5, SHAPES[:1])), attempts, seed, 1)
    judged(outcomes, retried=attempts > 1, seed=seed)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("attempts", [1, 3])
async def test_faults_at_every_offset_of_what_goes_past_us_are_told_or_mended(
    loop_factory: Any, attempts: int
) -> None:
    seed = secrets.randbits(32)
    outcomes = await ran(list(matrix(1, SHAPES[:1])), attempts, seed, 1)
    judged(outcomes, retried=attempts > 1, seed=seed)
