"""Permits: how a call gets them from its gates, waits for them, and brings them home."""

from asyncio import Future, _get_running_loop
from collections.abc import Iterable
from typing import Any

from switchgear.core.drivers import working
from switchgear.core.kit import Kit
from switchgear.core.observe import Refusing
from switchgear.core.sweep import Alarm
from switchgear.policy.fault import Fault, Refusal
from switchgear.policy.gate import Ask, Gate, Permit, Refused, Waiting
from switchgear.policy.verdict import NEUTRAL, Verdict, judge

__all__ = ["Held", "admit", "answered", "let_in", "refresh", "refusing", "settle", "split", "wake"]

Held = tuple[Gate, Permit, Any] | None
"""The permits that a call holds, the innermost first: a chain, because it costs no list.

(The rest is another one: said as Any, for mypyc does not come to an end of a type within itself.)
"""


class _Bell:
    """The alarm of one waiter in a gate's queue."""

    __slots__ = ("future",)

    def __init__(self, future: "Future[None]") -> None:
        self.future = future

    def ring(self) -> None:
        _let_go(self.future)


def settle(held: Held, verdict: Verdict, now: float, rest: Held = None) -> None:
    """Give every permit back down to `rest`, the innermost first, and wake whom that let in."""
    while held is not rest:
        gate, permit, held = held  # type: ignore[misc]  # the rest is a tail of what is held
        try:
            let = gate.settle(permit, verdict, now)
            if let:
                wake(let)
        except BaseException:
            settle(held, verdict, now, rest)  # one gate's defect must not keep the others' permits
            raise


def split(held: Held, rest: Held) -> tuple[Held, Held]:
    """Part the permits down to `rest`: those of gates that learn, those of gates that bound.

    What is bounded is how much goes on at once: a place is taken for as long as the work goes on.
    """
    learn: Held = None
    bound: Held = None
    while held is not rest:
        gate, permit, held = held  # type: ignore[misc]  # the rest is a tail of what is held
        if getattr(gate, "bounds", False):
            bound = (gate, permit, bound)
        else:
            learn = (gate, permit, learn)
    return learn, bound


def wake(let: tuple[Waiting, ...]) -> None:
    """Wake those whom a gate has just answered."""
    for waiting in let:
        sleeper: Future[None] | None = waiting.wake
        if sleeper is None:
            continue
        loop = sleeper.get_loop()
        if loop is _get_running_loop():
            _let_go(sleeper)
            continue
        try:  # of another thread, which has come to share this policy
            loop.call_soon_threadsafe(_let_go, sleeper)
        except RuntimeError:
            pass  # closed amid its calls: who sleeps there gives the place back when thrown away


def _let_go(sleeper: "Future[None]") -> None:
    if not sleeper.done():
        sleeper.set_result(None)


def answered(held: Held, now: float) -> None:
    """Note on every permit that the head of the answer is there."""
    while held is not None:
        _, permit, held = held
        permit.answered = now


def refresh(held: Held, now: float) -> None:
    """Date the permits anew after a queue: to wait in ours is not the dependency's slowness."""
    while held is not None:
        _, permit, held = held
        permit.at = now


async def admit(
    kit: Kit, gates: Iterable[Gate], ask: Ask, held: Held, now: float
) -> tuple[Held, float]:
    """Pass gates by asking them, outermost first; return all permits, and the instant.

    Where one of them refuses, the others have theirs back.
    """
    rest = held
    try:
        for gate in gates:
            got = gate.admit(ask, now)
            if got.__class__ is not Permit:
                got = await let_in(kit, gate, got)
                now = kit.clock()
                refresh(held, now)
            held = (gate, got, held)
    except BaseException as error:
        settle(held, judge(error), kit.clock(), rest)
        raise
    return held, now


async def let_in(kit: Kit, gate: Gate, got: Permit | Waiting | Refused) -> Permit:
    """Make a permit of what a gate said: sleep in its queue until it answers, or raise."""
    answer = await _queue(kit, gate, got) if isinstance(got, Waiting) else got
    if isinstance(answer, Permit):
        return answer
    raise refusing(kit, gate, answer)


def refusing(kit: Kit, gate: Gate, refused: Refused) -> Fault:
    """Tell of a refusal, and return the fault that the caller gets."""
    kit.let_go()
    kind = getattr(gate, "kind", "gate")
    kit.tell(Refusing(kit.name, gate.name, refused.detail, refused.refusal, kind=kind))
    fault = refused.fault()
    if kit.policy:  # a gateway's lanes have names of their own for what refused
        fault.origin = kit.name
    return fault


async def _queue(kit: Kit, gate: Gate, waiting: Waiting) -> Permit | Refused:
    loop = working().get_loop()
    waiting.wake = loop.create_future()
    bell = _Bell(waiting.wake)
    slot: set[Alarm] = set()
    try:
        slot = kit.sweep(loop).arm(waiting.until, bell)
        await waiting.wake
    except BaseException:
        if isinstance(waiting.answer, Permit):  # let in and called off in the same turn
            settle((gate, waiting.answer, None), NEUTRAL, kit.clock())
        elif waiting.answer is None:
            gate.abandon(waiting, kit.clock())
        raise
    finally:
        slot.discard(bell)
    if waiting.answer is None:
        now = kit.clock()
        gate.abandon(waiting, now)
        if not isinstance(waiting.answer, Refused):
            waited = now - waiting.since
            return Refused(Refusal.FULL, f"{gate.name} had no room for {waited:.3f} s")
    return waiting.answer
