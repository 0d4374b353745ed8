"""The ordered end: by rising rank, each stage within what is left of the time."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final

from switchgear.assembly.member import Member
from switchgear.assembly.settings import Supervision

__all__ = ["drain"]

_UNKILLABLE: Final = 5.0


async def drain(
    members: Sequence[Member],
    timings: Supervision,
    now: Callable[[], float],
    hurry: asyncio.Event,
) -> list[str]:
    """Drain every member; return the labels of those that did not end well by themselves.

    Those who take in work end before those who do it, so that nothing that was accepted loses its
    servant. What its members have not finished shortly before its time is over they cut, and one
    that overruns is killed; later stages have at least `drain_least`. When `hurry` is set,
    everything that is left is killed at once.
    """
    until = now() + timings.drain
    ranked = sorted(members, key=lambda member: member.spec.rank)
    for _, stage in groupby(ranked, key=lambda member: member.spec.rank):
        await _stage(list(stage), max(timings.drain_least, until - now()), hurry)
    return [one.label for one in ranked if one.unclean or not one.gone.is_set()]


async def _stage(members: list[Member], within: float, hurry: asyncio.Event) -> None:
    for member in members:
        member.drain(within)
    ended = asyncio.gather(*(member.gone.wait() for member in members))
    hurried = asyncio.ensure_future(hurry.wait())
    await asyncio.wait((ended, hurried), timeout=within, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    for member in members:
        member.kill()  # whoever is gone has no process to kill
    # A process that the kernel itself holds (a dead disk) cannot be killed; it is left behind.
    await asyncio.wait((ended,), timeout=_UNKILLABLE)
    ended.cancel()
