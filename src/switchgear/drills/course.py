"""The course of one direction of one connection through the present injections.

A pure machine: it is told which bytes are due and answers what to do next; the pipe
does it. All its choices are seeded, so that a drill can be run again as it was.
"""

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from random import Random
from typing import Final, Literal, NamedTuple

from switchgear.drills.injection import (
    Cut,
    Delay,
    Drip,
    Garble,
    Hang,
    Injection,
    Insert,
    Pause,
    Refuse,
    Reset,
    Slice,
    kind,
)

__all__ = ["Act", "Course", "Step"]


class Act(Enum):
    """What a pipe does next."""

    PASS = "pass"  # write the step's bytes, if any  # noqa: S105 - no password
    HOLD = "hold"  # write nothing until the injections change
    CUT = "cut"  # end both sides with FIN
    RESET = "reset"  # end both sides with RST
    BROKEN = "broken"  # the same, not of our doing: a peer was reset. No course asks for it


class Step(NamedTuple):
    """What to do next: write `data`, and wait for a `pause` after it.

    It goes instead of as many due bytes as the course's `passed` has grown by.
    """

    act: Act
    data: bytes = b""
    pause: float = 0.0


class _Mark:
    """Where one injection stands on this course."""

    __slots__ = ("base", "flips", "held", "next_flip")

    def __init__(self, base: int, next_flip: int, flips: int) -> None:
        self.base = base  # the offset at which the injection began
        self.next_flip = next_flip
        self.flips = flips
        self.held = False


_NEVER: Final = 1 << 62
# When several thresholds are reached at once, the harder ending wins.
_ENDINGS: Final[tuple[tuple[type[Reset | Cut | Hang], Act], ...]] = (
    (Reset, Act.RESET),
    (Cut, Act.CUT),
    (Hang, Act.HOLD),
)


class Course:
    """Decide, byte by byte, what the injections do to one direction of one connection.

    `name` tells this course from others under the same `seed`; `injected` is the proxy's tally of
    events and is written here. Cuts and resets end the whole connection, so the connection counts
    them, once.
    """

    def __init__(
        self, direction: Literal["up", "down"], seed: int, name: int, injected: Counter[str]
    ) -> None:
        self.passed = 0
        self._direction = direction
        self._seed = seed
        self._name = name
        self._injected = injected
        self._random = Random(f"{seed}/{name}/{direction}")
        self._active: dict[int, Injection] = {}
        self._marks: dict[int, _Mark] = {}
        self._last_release = 0.0

    def adopt(self, injections: Mapping[int, Injection]) -> None:
        """Take over the present injections; one that goes on keeps its place."""
        self._active = {
            number: injection
            for number, injection in injections.items()
            if injection.direction in {"both", self._direction}
            and not isinstance(injection, Refuse)
            and self.hit(number, injection)
        }
        self._marks = {
            number: self._marks.get(number) or self._mark(injection)
            for number, injection in self._active.items()
        }

    @property
    def delays(self) -> bool:
        """Whether bytes are under way for a while, so that more than one chunk may be held."""
        return any(isinstance(injection, Delay) for injection in self._active.values())

    def release(self, now: float) -> float:
        """Return the instant at which bytes that arrive now may leave. Never out of order."""
        at = now
        for injection in self._active.values():
            if isinstance(injection, Delay):
                self._injected[kind(injection)] += 1
                at += injection.seconds + self._random.uniform(0, injection.jitter)
        self._last_release = max(at, self._last_release)
        return self._last_release

    def step(self, due: bytes) -> Step:
        """Decide on the bytes that are due (none: only whether the connection may go on)."""
        room, act = self._room(len(due))
        if act is not Act.PASS:
            if act is Act.HOLD and due:
                self._count_held()
            return Step(act)
        if not due:
            return Step(Act.PASS)
        size, pause = self._piece(room)
        data = self._inserted(self._garbled(due[:size]))
        self.passed += size
        return Step(Act.PASS, data, pause)

    def hit(self, number: int, injection: Injection) -> bool:
        """Say whether this connection is of the share that the injection hits."""
        # Drawn by connection and injection, so that both directions agree.
        if 0 < injection.first < self._name:
            return False
        return Random(f"{self._seed}/{self._name}/{number}").random() < injection.share

    def _mark(self, injection: Injection) -> _Mark:
        if isinstance(injection, Garble):
            return _Mark(self.passed, self.passed + injection.after_bytes, injection.count)
        if isinstance(injection, (Insert, Pause)):
            return _Mark(self.passed, self.passed + injection.after_bytes, 1)
        return _Mark(self.passed, _NEVER, 0)

    def _room(self, wanted: int) -> tuple[int, Act]:
        """Return how many bytes may pass before the next threshold, or what it asks for."""
        room = wanted
        for ending, act in _ENDINGS:
            for number, injection in self._active.items():
                if isinstance(injection, ending):
                    left = self._marks[number].base + injection.after_bytes - self.passed
                    if left <= 0:
                        return 0, act
                    room = min(room, left)
        return room, Act.PASS

    def _count_held(self) -> None:
        for number, injection in self._active.items():
            mark = self._marks[number]
            if not isinstance(injection, Hang) or mark.held:
                continue
            if mark.base + injection.after_bytes <= self.passed:
                mark.held = True
                self._injected[kind(injection)] += 1

    def _piece(self, room: int) -> tuple[int, float]:
        pause = 0.0
        for injection in self._active.values():
            if isinstance(injection, (Drip, Slice)):
                self._injected[kind(injection)] += 1
                room = min(room, injection.size)
                if isinstance(injection, Drip):
                    pause = max(pause, injection.interval)
        for injection, mark in sorted(self._pauses(), key=lambda one: one[1].next_flip):
            if mark.next_flip - self.passed <= room:
                room, mark.flips = mark.next_flip - self.passed, 0
                pause = max(pause, injection.seconds)
                self._injected[kind(injection)] += 1
        return room, pause

    def _pauses(self) -> list[tuple[Pause, _Mark]]:
        """Return those that are still to come."""
        pairs = ((one, self._marks[number]) for number, one in self._active.items())
        return [(one, mark) for one, mark in pairs if isinstance(one, Pause) and mark.flips]

    def _garbled(self, data: bytes) -> bytes:
        end = self.passed + len(data)
        for number, injection in self._active.items():
            mark = self._marks[number]
            if not isinstance(injection, Garble) or mark.next_flip >= end:
                continue
            changed = bytearray(data)
            while mark.flips and mark.next_flip < end:
                changed[mark.next_flip - self.passed] ^= self._random.randint(1, 255)
                self._injected[kind(injection)] += 1
                mark.flips -= 1
                mark.next_flip += self._random.randint(1, injection.gap)
            if not mark.flips:
                mark.next_flip = _NEVER
            data = bytes(changed)
        return data

    def _inserted(self, data: bytes) -> bytes:
        """Put in what nobody sent: beside the last byte before it, not beside the next one."""
        for number, injection in self._active.items():
            mark = self._marks[number]
            at = mark.next_flip - self.passed
            if isinstance(injection, Insert) and mark.flips and at <= len(data):
                mark.flips = 0
                self._injected[kind(injection)] += 1
                data = data[:at] + bytes([self._random.randint(0, 255)]) + data[at:]
        return data
