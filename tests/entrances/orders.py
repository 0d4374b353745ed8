"""A batch consumer: ten orders at once, and one bad one costs nobody else anything."""

from math import inf

import msgspec

from switchgear.core.batch import Batched, each, judge_each
from switchgear.core.consume import consume
from switchgear.core.frames import Timeout
from switchgear.core.stack import INBOUND, Part, Place, stack
from switchgear.lane.envelope import body_of
from switchgear.lane.once import once
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.gate import Gate
from switchgear.ports.broker import Broker, Intake, Message, Reading
from switchgear.ports.tables import Tables, Transaction


class Order(msgspec.Struct):
    number: int
    amount: int


async def book(message: Message, tx: Transaction) -> None:
    """Book one order, in the transaction that ends its message."""
    order = body_of(message.body, Order)
    if order.amount < 0:
        raise Fault(Code.OUT_OF_RANGE, f"order {order.number} is negative", effect=Effect.NONE)
    await tx.execute("INSERT INTO bookings (number) VALUES ($1)", order.number)


def orders_of(broker: Broker) -> Intake:
    """Read the orders; what fails is not tried again."""
    return broker.source(Reading("orders", "till", prefetch=20, attempts=1))


async def consume_orders(intake: Intake, tables: Tables, gate: Gate) -> None:
    """Consume orders in batches until the intake is drained."""
    whole = Timeout(full=30.0, limit=inf, share=1.0)
    parts = [Part(Place.DEADLINE, whole), Part(Place.SHED, gate)]
    handler = stack("orders", INBOUND, parts, each(once(tables, book)), judge=judge_each).run
    try:
        await consume(Batched(intake, 10, linger=0.02), handler)
    finally:
        await intake.close()
