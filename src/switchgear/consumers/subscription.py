"""Subscriptions: what an app declares about one consumer."""

import re
from collections.abc import Callable
from math import inf
from typing import Any, Final

import msgspec

__all__ = ["Subscription"]

_TOPIC: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")


class Subscription(msgspec.Struct, frozen=True):
    """One consumer: its topic, and how many deliveries it runs side by side.

    `deadline` is in seconds and counts for one attempt. Raises ValueError for what cannot be.
    """

    topic: str
    function: Callable[..., Any]
    lanes: int = 8
    attempts: int = 10
    deadline: float = 30.0
    at_least_once: bool = False

    def __post_init__(self) -> None:
        if not _TOPIC.fullmatch(self.topic):
            raise ValueError(
                f"consumer topic {self.topic!r}: write lower-case words joined by dots,"
                " like user.created"
            )
        for name, value in (("lanes", self.lanes), ("attempts", self.attempts)):
            if not 1 <= value <= 1000:
                raise ValueError(f"consumer {self.topic!r}: {name}={value} must be 1 to 1000")
        if not 0 < self.deadline < inf:
            raise ValueError(f"consumer {self.topic!r}: deadline={self.deadline:g} must be above 0")

    @property
    def name(self) -> str:
        """The consumer's identity in logs, metrics and the inbox."""
        return self.topic
