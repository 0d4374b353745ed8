"""The ground: what a protected call, a JSON endpoint and a proxied request cost.

`./dev bench ground [--rounds 3] [--seconds 1] [calls|endpoint|proxy ...]`: about a minute for all.
"""

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from typing import Any

from bench._apps.contenders import ours_json, ours_proxy
from bench._apps.person import PERSON
from bench._apps.protected import alone, machines, protected
from bench._apps.protected import endpoint as endpoint_stack
from bench._harness.calls import LOOPS, Call, Make, per_call
from bench._harness.load import Asked
from bench._harness.pinning import cpus
from bench._harness.servers import measure, running
from bench._harness.table import print_calls, print_figures, print_ground
from bench._peers import fastapi, fastapi_proxy, fastify, fastify_proxy, upstream
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


def calls(settings: argparse.Namespace) -> None:
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


def endpoint(settings: argparse.Namespace) -> None:
    contenders = [ours_json(), ours_json("asyncio"), *fastify(), fastapi()]
    for asked in (Asked("GET", "/person"), Asked("POST", "/person", PERSON)):
        figures = measure(contenders, asked, rounds=settings.rounds, seconds=settings.seconds)
        print_figures(f"{asked.method} of 200 bytes of JSON, a user's coroutine", figures)


def proxy(settings: argparse.Namespace) -> None:
    with running(upstream(), cpus()[1]) as (_, port):
        contenders = [
            ours_proxy(port),
            ours_proxy(port, protected=True),
            ours_proxy(port, "asyncio"),
            *fastify_proxy(port),
            fastapi_proxy(port),
        ]
        figures = measure(
            contenders, Asked("GET", "/person"), rounds=settings.rounds, seconds=settings.seconds
        )
    print_figures("GET of 200 bytes, proxied", figures)


PARTS = {"calls": calls, "endpoint": endpoint, "proxy": proxy}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench ground")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "all"], default="all")
    settings = parser.parse_args()
    print_ground()
    for part in PARTS if "all" in settings.parts else settings.parts:
        PARTS[part](settings)


if __name__ == "__main__":
    main()
