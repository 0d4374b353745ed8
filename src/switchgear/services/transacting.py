"""Transacting: what answers the calls of one endpoint in a transaction, or from a snapshot.

It stands apart because it is not compiled: to leave the transaction is to wait, amid an error, too.
"""

from typing import Any

from switchgear.binding.given import Provider
from switchgear.binding.plan import Plan
from switchgear.core.ambient import ambient
from switchgear.core.confining import confine
from switchgear.core.drivers import working
from switchgear.http.message import Response, StreamResponse
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.ports.tables import Snapshot, Tables, Transaction
from switchgear.services.answers import Answering
from switchgear.services.calling import Answers, read_json
from switchgear.services.given import HttpGiven

__all__ = ["Work", "reading", "transacting", "unopened", "unread"]


def unopened(_: object) -> None:
    """Stand for the transaction while the rest is bound."""


def unread(_: object) -> None:
    """Stand for the snapshot while the rest is bound."""


class Work:
    """What one endpoint does in a transaction: `run` is all of it, from arguments to the answer.

    `opened` is what stands for the transaction, or the snapshot, in the plan.
    """

    def __init__(
        self, plan: Plan, answer: Answering, limit: int, opened: Provider = unopened
    ) -> None:
        self.plan = plan
        self.limit = limit
        self._answer = answer
        self._takers = [one.name for one in plan.parameters if one.provider is opened]

    async def run(self, tx: Transaction | Snapshot, arguments: dict[str, Any]) -> Response:
        """Call the plan's function, and make the answer of what it returned."""
        for name in self._takers:
            arguments[name] = tx
        driver = working()
        try:
            result = await self.plan.function(**arguments)
        except BaseException as error:
            confine(error, driver)
            raise
        # Written before the commit: what cannot be written must not leave its effect.
        return self._answer(result)


def transacting(work: Work, tables: Tables | None) -> Answers:
    """Call a plan as `calling` does, in a transaction that commits before the response.

    It is opened when all else is bound: who sent something wrong is told so without a connection.
    """

    async def call_it(call: Call[HttpGiven]) -> Response:
        opening, arguments = await _bound(work, tables, call)
        async with opening.transaction(deadline=call.deadline) as tx:
            return await work.run(tx, arguments)

    return call_it


def reading(work: Work, tables: Tables | None) -> Answers:
    """Call a plan as `transacting` does, with a snapshot that ends when its answer has ended."""

    async def call_it(call: Call[HttpGiven]) -> Response:
        opening, arguments = await _bound(work, tables, call)
        snapshot = await opening.snapshot(deadline=call.deadline)
        streaming = False
        try:
            answer = await work.run(snapshot, arguments)
            if isinstance(answer, StreamResponse):
                streaming = True
                snapshot.outlive()
                answer.on_end(lambda _: snapshot.end())
        finally:
            if not streaming:
                snapshot.end()
        return answer

    return call_it


async def _bound(
    work: Work, tables: Tables | None, call: Call[HttpGiven]
) -> tuple[Tables, dict[str, Any]]:
    """Bind the arguments of a call, all but what is opened for it; return where that is."""
    plan, given = work.plan, call.payload
    if tables is None:
        raise Fault(Code.UNAVAILABLE, f"{plan.name} needs a database and none is configured")
    if plan.body is not None:
        given.body = await read_json(given.call.payload, work.limit)
    ambient.set(given.call)
    return tables, plan.arguments(given)
