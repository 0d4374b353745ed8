"""Pull from every process what the admin port and the command line show as one."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from switchgear.assembly.control import ControlError, ask
from switchgear.telemetry.exposition import render
from switchgear.telemetry.metrics import FamilyShot, Snapshot

__all__ = ["Heard", "fan_out", "merged_metrics"]


class Heard(NamedTuple):
    """What the processes said, and what kept the others from saying anything."""

    answers: dict[str, Any]
    errors: dict[str, str]


async def fan_out(
    sockets: Mapping[str, Path], verb: str, body: Any = None, *, timeout: float = 2.0
) -> Heard:
    """Ask every process the same at once. One that is silent costs its answer and no more."""

    async def one(path: Path) -> Any:
        try:
            return await ask(path, verb, body, timeout=timeout)
        except ControlError as error:
            return error

    found = await asyncio.gather(*map(one, sockets.values()))
    heard = Heard({}, {})
    for label, answer in zip(sockets, found, strict=True):
        if isinstance(answer, ControlError):
            heard.errors[label] = str(answer)
        else:
            heard.answers[label] = answer
    return heard


async def merged_metrics(
    sockets: Mapping[str, Path], own: Mapping[str, Snapshot], *, timeout: float = 2.0
) -> bytes:
    """Return one Prometheus page of all processes, each series with a `process` label.

    `own` are snapshots of this process. `switchgear_process_answered` is 0 for a process
    that did not answer: its silence must not look like its absence.
    """
    heard = await fan_out(sockets, "metrics", timeout=timeout)
    pages: dict[str, Snapshot] = dict(own)
    for label, answer in heard.answers.items():
        pages[label] = [*pages.get(label, ()), *msgspec.convert(answer, list[FamilyShot])]
    lines = [
        "# HELP switchgear_process_answered It told its figures in time.",
        "# TYPE switchgear_process_answered gauge",
    ]
    lines += [
        f'switchgear_process_answered{{process="{label}"}} {int(label in heard.answers)}'
        for label in sockets
    ]
    return render(pages) + "\n".join(lines).encode() + b"\n"
