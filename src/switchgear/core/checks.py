"""Checks of options: a wrong one is refused where it is given, saying what would be right."""

from collections.abc import Mapping
from datetime import timedelta
from inspect import (
    isasyncgenfunction,
    isawaitable,
    isclass,
    iscoroutinefunction,
    isgeneratorfunction,
)
from math import inf
from typing import Final

from switchgear.policy.duration import seconds

__all__ = ["decorated", "duration", "function", "kind", "modes", "name", "observer", "rate"]

MODES: Final = ("enforce", "observe", "off")


def name(given: object) -> str:
    """Return the name of a policy.

    Raises:
        TypeError: it is no string: maybe a function, of who has left the name out.
        ValueError: it is empty.
    """
    if not isinstance(given, str):
        hint = ": decorate with @Policy('mail')" if callable(given) else ""
        raise TypeError(f"a policy has a name first, as in Policy('mail'), not {given!r}{hint}")
    if not given.strip():
        raise ValueError("a policy has a name first, as in Policy('mail'), which is not empty")
    return given


def decorated(policy: str, given: object) -> None:
    """Require what a policy is to decorate to be a function that returns.

    Raises:
        TypeError: it is not.
    """
    if isasyncgenfunction(given) or isgeneratorfunction(given):
        raise TypeError(
            f"policy {policy!r} protects functions that return, not {given!r}:"
            " protect the calls that it makes, or the loop that consumes it by 'async with';"
            " never yield inside 'async with' or 'within': who takes it would run under them"
        )
    if isinstance(given, staticmethod | classmethod):
        kind = type(given).__name__
        right = f"@{kind} stays outermost: decorate the function below it"
    elif isclass(given):
        right = "decorate those of its methods that call the dependency"
    elif callable(given):
        return
    elif isawaitable(given):
        right = "give the function, not its result, as in policy(send) or policy.call(send, letter)"
    else:
        right = "a function would be right"
    raise TypeError(f"policy {policy!r} protects functions, not {given!r}: {right}")


def duration(option: str, given: object) -> float | None:
    """Return a duration in seconds; None is none.

    Raises:
        TypeError: it is neither a number nor a string.
        ValueError: it cannot be read, or is not more than nothing.
    """
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        hint = f" ({given.total_seconds():g} here)" if isinstance(given, timedelta) else ""
        raise TypeError(
            f"{option}={given!r}: seconds as a number{hint}, a string like '250ms' or '2s', or"
            " None would be right"
        )
    try:
        return seconds(given)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def rate(given: object) -> None:
    """Require a rate of calls, or None.

    Raises:
        TypeError: it is no number.
        ValueError: it is not more than nothing, or endless.
    """
    right = f"rate={given!r}: calls per second, more than none, would be right"
    if given is None:
        return
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(right)
    if not 0.0 < given < inf:
        raise ValueError(right)


def kind(option: str, given: object, *kinds: type, optional: bool = True) -> None:
    """Require an option to be of one of `kinds`, or None where it is `optional`.

    Raises:
        TypeError: it is not.
    """
    if (given is None and optional) or isinstance(given, kinds):
        return
    right = [f"{one.__name__}(...)" for one in kinds] + ["None"] * optional
    raise TypeError(f"{option}={given!r}: {' or '.join(right)} would be right")


def function(option: str, given: object, *, optional: bool = True) -> None:
    """Require an option to be something that can be called, or None where it is `optional`.

    Raises:
        TypeError: it is not, or would have to be awaited.
    """
    if not callable(given) and not (given is None and optional):
        raise TypeError(f"{option}={given!r}: a function would be right")
    if _to_be_awaited(given):
        raise TypeError(
            f"{option}={given!r}: a plain function would be right, for nobody awaits it"
        )


def observer(option: str, given: object, *, optional: bool = True) -> None:
    """Require an option to be a function of an event, or None where it is `optional`.

    Raises:
        TypeError: it is not, or would have to be awaited.
    """
    function(option, given, optional=optional)
    if isclass(given):
        raise TypeError(f"{option}={given!r}: one that is made of it would be right")


def _to_be_awaited(given: object) -> bool:
    """Say whether a call of it makes a coroutine, as far as can be seen."""
    return callable(given) and (
        iscoroutinefunction(given) or iscoroutinefunction(type(given).__call__)
    )


def modes(given: object, parts: tuple[str, ...]) -> None:
    """Require a mode, or one for each of some `parts`.

    Raises:
        ValueError: it is another, or a part has not that name.
    """
    for mode in given.values() if isinstance(given, Mapping) else (given,):
        if mode not in MODES:
            raise ValueError(f"mode={mode!r}: 'enforce', 'observe' or 'off' would be right")
    if isinstance(given, Mapping) and (unknown := set(given) - set(parts)):
        named = ", ".join(sorted(map(str, unknown)))
        raise ValueError(f"mode names {named}; the parts are {', '.join(parts)}")
