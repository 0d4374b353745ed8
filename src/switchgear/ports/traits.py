"""Traits: what an engine can do beyond its port, and what is missing for what is asked of it."""

from collections.abc import Iterable, Set
from enum import StrEnum

__all__ = ["Trait", "lacking"]


class Trait(StrEnum):
    """One power that not every engine of a port has."""

    TRANSACTIONAL = "transactional"  # publish and settle within a transaction of the tables
    DELAY = "delay"  # a message that is delivered later
    EXPIRY = "expiry"  # a message that is not executed after its time
    DEAD_LETTERS = "dead_letters"  # list, replay and discard what could not be done
    KEY_ORDER = "key_order"  # order per key over several processes


def lacking(name: str, traits: Set[Trait], needs: Iterable[tuple[str, Trait]]) -> list[str]:
    """Say, one sentence each, which needs the engine `name` cannot meet.

    `needs` are pairs of who needs it (in words) and the trait.
    """
    return [
        f"{who} needs {trait.value.replace('_', ' ')}, which {name} does not have"
        for who, trait in needs
        if trait not in traits
    ]
