"""Outcomes: what a call came to."""

from typing import Generic, TypeVar

import msgspec

__all__ = ["Done", "Failed", "Outcome"]

Out = TypeVar("Out")


class Done(msgspec.Struct, Generic[Out], frozen=True):
    """The handler returned."""

    value: Out


class Failed(msgspec.Struct, frozen=True):
    """The handler raised: a `Fault`, a defect, or CancelledError when its work was called off."""

    error: BaseException


Outcome = Done[Out] | Failed
