"""The ground: what a protected call costs, layer by layer: `./dev bench ground`, half a minute.

What requests cost is told by `./dev bench rest` and `./dev bench proxy`.
"""

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from typing import Any

from bench._apps.protected import alone, machines, protected
from bench._apps.protected import endpoint as endpoint_stack
from bench._harness.calls import LOOPS, Call, Make, per_call
from bench._harness.table import print_calls
from switchgear.core.observe import quiet
from switchgear.core.policy import Policy
from switchgear.core.stack import Stack
from switchgear.policy.call import Call as PolicyCall

Work = Callable[[PolicyCall[None]], Coroutine[Any, Any, None]]


async def nothing(call: PolicyCall[None]) -> None:
    """The work of a call that is answered at once."""


async def suspending(call: PolicyCall[None]) -> None:
    """The work of a call that waits for a turn of the loop."""
    await asyncio.sleep(0)


CALL: PolicyCall[None] = PolicyCall(None, inf, repeatable=True)


def bare(work: Work) -> Make:
    return lambda: lambda: work(CALL)


def before(work: Work, protect: Callable[[Work], Stack]) -> Make:
    def make() -> Call:
        run = protect(work).run
        return lambda: run(CALL)

    return make


def by_hand(work: Work) -> Make:
    """What is written without a platform: a semaphore and a timeout. No breaker, no retry."""

    def make() -> Call:
        semaphore = asyncio.Semaphore(256)

        async def run() -> None:
            async with semaphore, asyncio.timeout(1.0):
                await work(CALL)

        return run

    return make


def by_policy(work: Work) -> Make:
    """What a user writes: any function, its arguments, and the call made around them."""

    def make() -> Call:
        policy = Policy("bench", repeatable=True)
        return lambda: policy.call(work, CALL)

    return make


def only_machines(work: Work) -> Make:
    """The floor: what breaker, bulkhead and budget cost by themselves, and then the work."""

    def make() -> Call:
        once = machines()

        async def run() -> None:
            once()
            await work(CALL)

        return run

    return make


def calls() -> None:
    for work in (nothing, suspending):
        contenders = {
            "full stack": before(work, protected),
            "full stack, observed": before(work, partial(protected, observe=quiet)),
            "one endpoint, observed": before(work, partial(endpoint_stack, observe=quiet)),
            "policy.call": by_policy(work),
            "its machines, no frame": only_machines(work),
            "semaphore and timeout by hand": by_hand(work),
            "no protection": bare(work),
        }
        for part in ("retry", "breaker", "bulkhead", "timeout"):
            contenders[f"{part} alone"] = before(work, partial(alone, part))
        columns = {loop: per_call(contenders, loop=loop, rounds=5) for loop in LOOPS}
        print_calls(f"a call whose work is {work.__name__}", columns)


def main() -> None:
    argparse.ArgumentParser(prog="./dev bench ground").parse_args()
    calls()


if __name__ == "__main__":
    main()
