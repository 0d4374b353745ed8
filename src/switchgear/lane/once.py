"""Effects once: the effect, the inbox row and the message's end commit together, or not at all."""

from collections.abc import Awaitable, Callable

from switchgear.core.handler import Handler
from switchgear.policy.call import Call
from switchgear.ports.broker import Message, Received
from switchgear.ports.tables import Tables, Transaction

__all__ = ["once"]

Effect = Callable[[Message, Transaction], Awaitable[object]]


def once(tables: Tables, effect: Effect) -> Handler[Received, None]:
    """Make a handler that runs `effect` in a transaction together with the end of its message.

    A message whose effect was committed before is finished without it. A lost lease rolls
    the effect back: whoever took the message over does it.
    """

    async def run(call: Call[Received]) -> None:
        async with tables.transaction(call.deadline) as tx:
            if await call.payload.claim(tx):
                await effect(call.payload.message, tx)

    return run
