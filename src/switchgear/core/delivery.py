"""Deliveries and sources: where a call came from, and how it is settled."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from switchgear.core.drivers import Work, working
from switchgear.core.handler import Handler
from switchgear.core.outcome import Done, Failed, Outcome
from switchgear.policy.call import Call

__all__ = ["Delivery", "Source", "dispatch", "settled"]

In = TypeVar("In")
Out = TypeVar("Out")


class Delivery(Protocol[In, Out]):
    """One call at an entrance, and the way to answer it.

    `begin` hands over the running work, so that the entrance can call it off: a client left,
    a lease was lost, a partition was revoked. It is the entrance's until `settle` is over, and
    not a moment longer: the task of a connection goes on to the next call. What settles without a
    wait does so at once, and returns nothing to wait for.
    """

    @property
    def call(self) -> Call[In]: ...

    def begin(self, work: Work) -> None: ...

    def settle(self, outcome: Outcome[Out]) -> Awaitable[None] | None: ...


class Source(Protocol[In, Out]):
    """Where deliveries are pulled from."""

    async def take(self) -> Delivery[In, Out] | None:
        """Return the next delivery, or None when the source is drained.

        It can be cancelled at any wait, and must lose nothing then.
        """
        ...


async def dispatch(
    handler: Handler[In, Out],
    delivery: Delivery[In, Out],
    amend: Callable[[Exception, Call[In]], None] | None = None,
) -> None:
    """Run one delivery to its settlement: the one place where outcomes are captured.

    (By hand `services/calling.py` does so once more, and `gateway/express.py` for what is well.
    Tests hold them to this.)

    `amend` is shown what failed before it is settled, and may add to it what only the entrance
    knows. It must not raise.

    `settle` is called exactly once, whatever ended the work. What is no ordinary error (a
    cancellation, an exit) is settled too and then goes on to whoever drives this.
    """
    outcome: Outcome[Out]
    final: BaseException | None = None
    try:
        delivery.begin(working())
        outcome = Done(await handler(delivery.call))
    except Exception as error:  # noqa: BLE001 - a defect, too, is an outcome
        if amend is not None:
            amend(error, delivery.call)
        outcome = Failed(error)
    except GeneratorExit:
        raise  # its driver was thrown away: there is nobody left who could run a settlement
    except BaseException as error:  # noqa: BLE001 - raised below
        outcome, final = Failed(error), error
    settling = delivery.settle(outcome)
    del outcome  # what failed holds its traceback, and that one this frame
    if settling is not None:
        await settling
    if final is not None:
        try:
            raise final
        finally:
            final = None  # as above


async def settled(delivery: Delivery[In, Out], outcome: Outcome[Out]) -> None:
    """Settle a delivery, and return when that is over."""
    settling = delivery.settle(outcome)
    if settling is not None:
        await settling
