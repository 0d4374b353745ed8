"""Subscriptions: what cannot be declared, and what a consumer must take to be safe."""

from typing import Annotated, Any

import pytest
from msgspec import Struct

from switchgear.binding.parameters import Unbindable
from switchgear.consumers.subscription import Subscription
from switchgear.consumers.worker import IdempotencyKey, bind_subscription
from switchgear.ports.tables import Transaction


class Made(Struct):
    id: int


async def committing(made: Made, tx: Transaction) -> None: ...
async def noted(made: Made, tx: Annotated[Transaction, "noted"]) -> None: ...
async def keyed(made: Made, key: IdempotencyKey) -> None: ...
async def neither(made: Made) -> None: ...
async def asking(made: Made, page: Annotated[int, "query"], tx: Transaction) -> None: ...


@pytest.mark.parametrize("topic", ["user.created", "a", "a1.b_2"])
def test_what_is_a_topic(topic: str) -> None:
    assert Subscription(topic, committing).name == topic


@pytest.mark.parametrize("topic", ["", "User", "user..created", ".a", "a.", "a b", "ä", "a\n"])
def test_what_is_none(topic: str) -> None:
    with pytest.raises(ValueError, match="lower-case words joined by dots"):
        Subscription(topic, committing)


@pytest.mark.parametrize(
    "fields", [{"lanes": 0}, {"lanes": 1001}, {"attempts": 0}, {"deadline": 0.0},
               {"deadline": float("inf")}, {"deadline": float("nan")}]
)  # fmt: skip
def test_figures_that_cannot_be(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        Subscription("a", committing, **fields)


@pytest.mark.parametrize("value", ["8", 2.5, True, None])
def test_figures_that_are_none(value: Any) -> None:
    for name in ("lanes", "attempts"):
        with pytest.raises(TypeError, match=f"consumer 'a': {name}={value!r} must be 1 to 1000"):
            Subscription("a", committing, **{name: value})


def test_an_effect_is_in_the_transaction_or_has_a_key_or_may_happen_twice() -> None:
    assert bind_subscription(Subscription("a", committing), {}).commits
    assert bind_subscription(Subscription("a", noted), {}).commits
    assert not bind_subscription(Subscription("a", keyed), {}).commits
    assert not bind_subscription(Subscription("a", neither, at_least_once=True), {}).commits
    with pytest.raises(Unbindable, match=r"neither \(.*\): the consumer of a takes neither"):
        bind_subscription(Subscription("a", neither), {})


def test_a_message_has_a_body_and_nothing_else() -> None:
    with pytest.raises(Unbindable, match="page"):
        bind_subscription(Subscription("a", asking), {})
