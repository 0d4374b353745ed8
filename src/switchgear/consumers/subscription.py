"""Subscriptions: what an app declares about one consumer."""

from collections.abc import Callable
from math import inf
from typing import Any

import msgspec

from switchgear.ports.broker import TOPIC, check_topic

__all__ = ["Subscription"]


class Subscription(msgspec.Struct, frozen=True):
    """One consumer: its topic, and how many deliveries it runs side by side.

    `deadline` is in seconds and counts for one attempt. Raises ValueError for what cannot be,
    TypeError for a figure that is none.
    """

    topic: str
    function: Callable[..., Any]
    lanes: int = 8
    attempts: int = 10
    deadline: float = 30.0
    at_least_once: bool = False

    def __post_init__(self) -> None:
        try:
            check_topic(self.topic)
        except ValueError:
            raise ValueError(f"consumer topic {self.topic!r}: write {TOPIC}") from None
        for name, value in (("lanes", self.lanes), ("attempts", self.attempts)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"consumer {self.topic!r}: {name}={value!r} must be 1 to 1000")
            if not 1 <= value <= 1000:
                raise ValueError(f"consumer {self.topic!r}: {name}={value} must be 1 to 1000")
        if not 0 < self.deadline < inf:
            raise ValueError(f"consumer {self.topic!r}: deadline={self.deadline:g} must be above 0")

    @property
    def name(self) -> str:
        """The consumer's identity in logs, metrics and the inbox."""
        return self.topic
