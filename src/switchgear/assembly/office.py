"""The supervisor's own control socket: what the command line and the admin port may ask of it."""

from typing import Any

import msgspec

from switchgear.assembly.pull import fan_out, merged_metrics
from switchgear.assembly.roles import Answer, Office
from switchgear.assembly.status import Status
from switchgear.assembly.topology import State
from switchgear.telemetry.metrics import FamilyShot, Series, Snapshot

__all__ = ["answers", "supervised"]


class Question(msgspec.Struct, frozen=True):
    """A question to be passed on to every process."""

    verb: str
    body: Any = None


def answers(office: Office) -> dict[str, Answer]:
    """Return the verbs of a supervisor: status, metrics, ask, replace, stop."""

    async def status(_: Any) -> Any:
        return office.status()

    async def metrics(_: Any) -> Any:
        return (await merged_metrics(office.sockets(), supervised(office.status()))).decode()

    async def ask(body: Any) -> Any:
        question = msgspec.convert(body, Question)
        heard = await fan_out(office.sockets(), question.verb, question.body)
        return {"answers": heard.answers, "errors": heard.errors}

    async def replace(label: Any) -> Any:
        return office.replace(label)

    async def stop(_: Any) -> Any:
        office.stop("asked on the control socket")

    return {"status": status, "metrics": metrics, "ask": ask, "replace": replace, "stop": stop}


def supervised(status: Status) -> dict[str, Snapshot]:
    """Return a supervisor's own figures about its seats, or a single process's about its own."""
    rows = status.rows
    single = len(rows) == 1 and rows[0].pid == status.pid
    ready = [Series((row.label,), int(row.state is State.READY)) for row in rows]
    restarts = [Series((row.label,), row.restarts) for row in rows]
    auxiliaries = [Series((name,), int(up)) for name, up in status.auxiliaries.items()]
    seat = ("seat",)
    return {
        rows[0].label if single else "supervisor": [
            FamilyShot("seat_ready", "gauge", "It serves.", seat, (), tuple(ready)),
            FamilyShot(
                "seat_restarts_total", "counter", "Deaths so far.", seat, (), tuple(restarts)
            ),
            FamilyShot("auxiliary_up", "gauge", "It runs.", ("name",), (), tuple(auxiliaries)),
        ]
    }
