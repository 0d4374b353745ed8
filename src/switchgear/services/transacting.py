"""Transacting: what answers the calls of one endpoint in a transaction.

It stands apart because it is not compiled: to leave the transaction is to wait, amid an error, too.
"""

from typing import Any

from switchgear.binding.plan import Plan
from switchgear.core.ambient import ambient
from switchgear.core.confining import confine
from switchgear.http.message import Response
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.ports.tables import Tables, Transaction
from switchgear.services.answers import Answering
from switchgear.services.calling import Answers, read_json
from switchgear.services.given import HttpGiven

__all__ = ["Work", "transacting", "unopened"]


def unopened(_: object) -> None:
    """Stand for the transaction while the rest is bound."""


class Work:
    """What one endpoint does in a transaction: `run` is all of it, from arguments to the answer."""

    def __init__(self, plan: Plan, answer: Answering, limit: int) -> None:
        self.plan = plan
        self.limit = limit
        self._answer = answer
        self._takers = [one.name for one in plan.parameters if one.provider is unopened]

    async def run(self, tx: Transaction, arguments: dict[str, Any]) -> Response:
        """Call the plan's function, and make the answer of what it returned."""
        for name in self._takers:
            arguments[name] = tx
        try:
            result = await self.plan.function(**arguments)
        except BaseException as error:
            confine(error)
            raise
        # Written before the commit: what cannot be written must not leave its effect.
        return self._answer(result)


def transacting(work: Work, tables: Tables | None) -> Answers:
    """Call a plan as `calling` does, in a transaction that commits before the response.

    It is opened when all else is bound: who sent something wrong is told so without a connection.
    """
    plan = work.plan
    reads = plan.body is not None

    async def call_it(call: Call[HttpGiven]) -> Response:
        given = call.payload
        if tables is None:
            raise Fault(Code.UNAVAILABLE, f"{plan.name} needs a database and none is configured")
        if reads:
            given.body = await read_json(given.call.payload, work.limit)
        ambient.set(given.call)
        arguments = plan.arguments(given)
        async with tables.transaction(deadline=call.deadline) as tx:
            return await work.run(tx, arguments)

    return call_it
