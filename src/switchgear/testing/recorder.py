"""The recorder: an observer that writes every event down, and answers questions about them."""

from collections.abc import Iterator
from typing import Any, TypeVar

from switchgear.core.observe import Event

__all__ = ["EventRecorder"]

Kind = TypeVar("Kind")


class EventRecorder:
    """Observe a policy in a test: `Policy("mail", observe=recorder)`.

    ::

        assert recorder.one(Transition).new is State.OPEN
        assert recorder.count(Refusing, gate="breaker") == 3
        assert [event.attempt for event in recorder.of(AttemptEnded, name="mail")] == [1, 2]
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __repr__(self) -> str:
        return "\n".join(["EventRecorder:", *(f"  {event!r}" for event in self.events)])

    def of(self, kind: type[Kind], /, **fields: object) -> list[Kind]:
        """Return the events of a kind whose fields have these values, in their order.

        Raises AttributeError for a field that the kind does not have, and TypeError for what is no
        kind, whatever was recorded: it would match nothing.
        """
        isinstance(None, kind)  # which says what would be right
        known: tuple[str, ...] = getattr(kind, "__struct_fields__", ())
        for name in fields:
            if known and name not in known:
                told = ", ".join(known)
                raise AttributeError(f"{kind.__name__} has no field {name!r}: it has {told}")
        events = [event for event in self.events if isinstance(event, kind)]
        return [
            event
            for event in events
            if all(getattr(event, name) == value for name, value in fields.items())
        ]

    def count(self, kind: type[Any], /, **fields: object) -> int:
        """Return how many events of a kind have these values."""
        return len(self.of(kind, **fields))

    def one(self, kind: type[Kind], /, **fields: object) -> Kind:
        """Return the only event of a kind that has these values.

        Raises AssertionError when there is none or another, telling all that was recorded.
        """
        found = self.of(kind, **fields)
        if len(found) != 1:
            which = f"{kind.__name__} {fields}" if fields else kind.__name__
            raise AssertionError(f"{len(found)} of {which} in {self!r}")
        return found[0]

    def clear(self) -> None:
        """Forget what was recorded so far."""
        self.events.clear()
