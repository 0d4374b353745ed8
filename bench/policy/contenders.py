"""Who is measured: what each covers, and how it is made; the first of a group is ours."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

from bench._harness.calls import Call, Round, steady
from bench.policy import ours, peers
from bench.policy.node import Node
from switchgear.core.observe import quiet

__all__ = ["AT_ONCE", "WORKS", "Contender", "Function", "Unable", "Work", "decorated", "groups"]

Function = Callable[[int], Coroutine[Any, Any, int]]
Protect = Callable[[Function], Function]
Makes = Callable[[str, float], Awaitable[Round]]


AT_ONCE: Final = 32  # every bulkhead that is measured has as many places


class Unable(Exception):  # noqa: N818 - it names what a contender is
    """A contender cannot be measured at a work, and the message says why."""


class Contender(NamedTuple):
    """One row: `make(work, seconds)` returns what measures rounds of that length on this loop."""

    name: str
    covers: str
    make: Makes


async def nothing(value: int) -> int:
    """The work of a call that is answered at once."""
    return value


async def suspending(value: int) -> int:
    """The work of a call that waits for a turn of the loop."""
    await asyncio.sleep(0)
    return value


class Work(NamedTuple):
    """What is protected, and how many tasks call it at once."""

    function: Function
    at_once: int = 1


# A turn of the loop has a system call in it, which those who are under way together share.
WORKS: dict[str, Work] = {
    "nothing": Work(nothing),
    "suspending": Work(suspending),
    f"{AT_ONCE} at once": Work(suspending, AT_ONCE),
}


def decorated(protect: Protect, before: Callable[[], None] | None = None) -> Makes:
    """Measure a decorated function; `before` each round, if given, sets what is global."""

    async def make(work: str, seconds: float) -> Round:
        function, at_once = WORKS[work]
        protected = protect(function)
        if before is not None:
            before()
        measure = await _steady(lambda: protected(7), seconds, at_once)
        if before is None:
            return measure

        async def measured() -> float:
            before()
            return await measure()

        return measured

    return make


def by(policy: Callable[[], Any]) -> Protect:
    """Decorate with a policy of its own."""

    def protect(function: Function) -> Function:
        protected: Function = policy()(function)
        return protected

    return protect


def called(policy: Callable[[], Any]) -> Makes:
    """Measure `policy.call(function, argument)`."""

    async def make(work: str, seconds: float) -> Round:
        call, (function, at_once) = policy().call, WORKS[work]
        return await _steady(lambda: call(function, 7), seconds, at_once)

    return make


def plainly(protect: Callable[[Callable[[int], int]], Callable[[int], int]]) -> Makes:
    """Measure a function that is no coroutine, called from one."""

    def same(value: int) -> int:
        return value

    async def make(work: str, seconds: float) -> Round:
        if work != "nothing":
            raise Unable("it is not async")
        protected = protect(same)

        async def call() -> int:
            return protected(7)

        return await _steady(call, seconds)

    return make


def in_node(node: Node | None, kind: str) -> Makes:
    """Measure in Node, whose turn of the loop is setImmediate."""

    async def make(work: str, seconds: float) -> Round:
        if node is None:
            raise Unable("there is no Node to ask")
        function, at_once = WORKS[work]
        node.ask(kind, function.__name__, seconds, at_once)

        async def measure() -> float:
            return node.ask(kind, function.__name__, seconds, at_once)

        return measure

    return make


async def _steady(call: Call, seconds: float, at_once: int = 1) -> Round:
    """See one answer, so that no contender is measured at saying something else."""
    answer = await call()
    if answer != 7:
        raise RuntimeError(f"it answered {answer!r}")
    return await steady(call, seconds, at_once)


def groups(node: Node | None) -> dict[str, Sequence[Contender]]:
    """Return every contender, by what all of a group cover."""
    return {
        "no protection": _bare(node),
        "retry, breaker, bulkhead, timeout": _whole(),
        "breaker, bulkhead, timeout": _no_retry(node),
        "retry": _retries(),
        "breaker": _breakers(node),
    }


def _bare(node: Node | None) -> Sequence[Contender]:
    return (
        Contender("Python", "", decorated(lambda function: function)),
        Contender("Node", "", in_node(node, "bare")),
    )


def _whole() -> Sequence[Contender]:
    more = "+ deadline, retry budget, statistics"
    return (
        Contender("Switchgear, policy.call", more, called(ours.whole)),
        Contender("Switchgear, decorated", more, decorated(by(ours.whole))),
        Contender(
            "Switchgear, policy.call, observed", f"{more}, events", called(_observed)
        ),
        Contender(
            "Switchgear, decorated, observed", f"{more}, events",
            decorated(by(_observed)),
        ),
        Contender(
            "pyresilience", "a breaker of consecutive failures",
            decorated(peers.by_pyresilience("retry", "breaker", "bulkhead", "timeout")),
        ),
        Contender(
            "pyresilience, more of it", "+ retry budget, window, slowness, metrics",
            decorated(
                peers.by_pyresilience(
                    "retry", "budget", "window", "bulkhead", "timeout", "metrics"
                )
            ),
        ),
        Contender("hyx", "decorators in each other", decorated(peers.by_hyx(retries=True))),
        Contender(
            "interlock-cb, pipeline", "its retry is tenacity's",
            decorated(peers.by_interlock_pipeline(retries=True)),
        ),
    )  # fmt: skip


def _observed() -> Any:
    return ours.whole(observe=quiet)


def _no_retry(node: Node | None) -> Sequence[Contender]:
    more = "+ deadline, statistics"
    protect = peers.by_pyresilience("window", "bulkhead", "timeout")
    return (
        Contender("Switchgear, policy.call", more, called(ours.no_retry)),
        Contender("Switchgear, decorated", more, decorated(by(ours.no_retry))),
        Contender("pyresilience", "+ slowness", decorated(protect)),
        Contender("hyx", "decorators in each other", decorated(peers.by_hyx(retries=False))),
        Contender(
            "interlock-cb, pipeline", "", decorated(peers.by_interlock_pipeline(retries=False))
        ),
        Contender("opossum (Node)", "+ statistics, percentiles", in_node(node, "whole")),
    )


def _retries() -> Sequence[Contender]:
    more = "+ budget, statistics"
    return (
        Contender("Switchgear, policy.call", more, called(ours.retrying)),
        Contender("Switchgear, decorated", more, decorated(by(ours.retrying))),
        Contender("tenacity", "", decorated(peers.by_tenacity)),
        Contender(
            "stamina", "its hooks as they come",
            decorated(peers.by_stamina, lambda: peers.stamina_hooks(on=True)),
        ),
        Contender(
            "stamina, bare", "no hooks",
            decorated(peers.by_stamina, lambda: peers.stamina_hooks(on=False)),
        ),
        Contender("pyresilience", "", decorated(peers.by_pyresilience("retry"))),
        Contender("hyx", "", decorated(peers.hyx_retry)),
    )  # fmt: skip


def _breakers(node: Node | None) -> Sequence[Contender]:
    more = "by rate, slowness, and in a row; statistics"
    rate = "by rate and slowness"
    row = "by failures in a row"
    return (
        Contender("Switchgear, policy.call", more, called(ours.breaking)),
        Contender("Switchgear, decorated", more, decorated(by(ours.breaking))),
        Contender("pybreaker", f"{row}; tornado's coroutines", decorated(peers.by_pybreaker)),
        Contender("pybreaker, not async", row, plainly(peers.pybreaker_plain)),
        Contender("purgatory", row, decorated(peers.by_purgatory)),
        Contender("aiobreaker", row, decorated(peers.by_aiobreaker)),
        Contender("pyresilience", row, decorated(peers.by_pyresilience("breaker"))),
        Contender("pyresilience, window", rate, decorated(peers.by_pyresilience("window"))),
        Contender("hyx", row, decorated(peers.hyx_breaker)),
        Contender("interlock-cb", rate, decorated(peers.by_interlock)),
        Contender("opossum (Node)", "by rate; statistics, percentiles", in_node(node, "breaker")),
    )  # fmt: skip
