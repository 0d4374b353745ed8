"""Outcomes: what a call came to."""

from typing import Generic, TypeVar

from switchgear.policy.native import native

__all__ = ["Done", "Failed", "Outcome"]

Out = TypeVar("Out")


@native(free_list_len=1)
class Done(Generic[Out]):
    """The handler returned."""

    __slots__ = ("value",)
    __match_args__ = ("value",)

    def __init__(self, value: Out) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Done) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((Done, self.value))

    def __repr__(self) -> str:
        return f"Done({self.value!r})"


class Failed:
    """The handler raised: a `Fault`, a defect, or CancelledError when its work was called off."""

    __slots__ = ("error",)
    __match_args__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failed) and self.error == other.error

    def __hash__(self) -> int:
        return hash((Failed, self.error))

    def __repr__(self) -> str:
        return f"Failed({self.error!r})"


Outcome = Done[Out] | Failed
