"""Events for tests of observers: one of every kind there is, found by looking."""

from typing import Any, get_type_hints

import msgspec

from switchgear.core import observe
from switchgear.policy.breaker_settings import State, Transition
from switchgear.policy.fault import Refusal
from switchgear.policy.verdict import BAD, Verdict

__all__ = ["KINDS", "of"]

KINDS: list[type[msgspec.Struct]] = [
    kind
    for name in observe.__all__
    if isinstance(kind := getattr(observe, name), type) and issubclass(kind, msgspec.Struct)
] + [Transition]
"""Every kind of event that a policy may show. A new one is here at once."""

_VALUES: dict[Any, Any] = {
    str: "mail",
    int: 2,
    float: 0.25,
    float | None: None,
    bool: True,
    Verdict: BAD,
    Refusal: Refusal.OPEN,
    State: State.OPEN,
}


def of(kind: type[msgspec.Struct], **fields: Any) -> Any:
    """Make an event of a kind, with these fields and whatever fits for the others."""
    hints = get_type_hints(kind)
    made = {field.name: _VALUES[hints[field.name]] for field in msgspec.structs.fields(kind)}
    return kind(**{**made, **fields})
