"""Wrong values: how one is named, told in plain words, and gathered into a fault.

Source: RFC 6901 (pointers), RFC 9457 section 3 (the `errors` member).
"""

import math
import re
from decimal import Decimal
from typing import Final, NamedTuple

from switchgear.policy.fault import Code, Effect, Fault

__all__ = [
    "DECIMAL",
    "FINITE",
    "HALF",
    "LIMIT",
    "NUL",
    "ROOM",
    "WIDE",
    "Wrong",
    "boundless",
    "halved",
    "invalid",
    "malformed",
    "pointer",
    "reason_of",
    "wording",
]

LIMIT: Final = 100  # of errors in one answer: a wrong body must not buy a far larger one
ROOM: Final = 32_768  # characters of them all, for each may repeat a long name of the body

NUL: Final = "must not hold a NUL character"
HALF: Final = "must not hold half of a surrogate pair: both halves make a character"
WIDE: Final = "expected an integer that fits in 64 bits"
FINITE: Final = "expected a finite number"
_BEFORE, _BEHIND = 131_072, 16_383  # digits of a decimal that PostgreSQL's numeric holds
DECIMAL: Final = (
    f"expected a decimal with at most {_BEFORE} digits before its point and {_BEHIND} behind"
)

_WORDS: Final = {
    "`int`": "an integer",
    "`float`": "a number",
    "`str`": "a string",
    "`bool`": "a boolean",
    "`array`": "an array",
    "`object`": "an object",
    "`null`": "null",
    "`bytes`": "base64 text",
    "`datetime`": "a date and time",
    "`date`": "a date",
    "`time`": "a time",
    "`duration`": "a duration",
    "`uuid`": "a UUID",
    "`decimal`": "a decimal",
}
_SENTENCES: Final = {
    "Integer value out of range": WIDE,
    "Invalid RFC3339 encoded datetime": "expected a date and time like 2024-01-31T12:30:00Z",
    "Invalid RFC3339 encoded date": "expected a date like 2024-01-31",
    "Invalid RFC3339 encoded time": "expected a time like 12:30:00",
    "Invalid ISO8601 duration": "expected a duration like PT1H30M",
    "Invalid UUID": "expected a UUID",
    "Invalid base64 encoded string": "expected base64 text",
    "Invalid decimal string": "expected a decimal",
}
_LONGEST, _END = 2048, 1000  # characters of a message
_PLACE: Final = re.compile(r" - at (?:`key` in )?`\$(.*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_CODE: Final = re.compile(r"`[^`]*`")


# All escapes up to one of a surrogate that is not half of a pair. It goes through once.
_HALVED: Final = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\(?!u[dD][89a-fA-F]).)*+"
    rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}",
    re.DOTALL,
)


class Wrong(NamedTuple):
    """One wrong place: where, and what would be right; `pedantic` where a lenient reader passes."""

    pointer: str
    detail: str
    pedantic: bool = False

    def member(self) -> dict[str, str]:
        """Return it as a member of `errors`."""
        return {"pointer": self.pointer, "detail": self.detail}


def boundless(number: float | Decimal) -> str:
    """Say what would be right instead of a number that is none, or that nothing can store.

    What is not a number is no more than any limit either, and so would pass it.
    """
    if not isinstance(number, Decimal):
        return "" if math.isfinite(number) else FINITE
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):  # its letter: it is infinite, or not a number
        return FINITE
    return "" if exponent >= -_BEHIND and number.adjusted() < _BEFORE else DECIMAL


def halved(body: bytes) -> bool:
    """Say whether half of a surrogate pair stands in a body: JSON's grammar has it, Unicode not."""
    return _HALVED.match(body) is not None


def malformed(reason: str) -> Fault:
    """Return the fault for a body that is no JSON at all (a 400 at an HTTP edge)."""
    return Fault(
        Code.INVALID_ARGUMENT,
        f"malformed JSON: {reason}",
        effect=Effect.NONE,
        public=f"The body is not valid JSON: {reason}.",
    )


def invalid(errors: list[dict[str, str]], subject: str) -> Fault:
    """Return the fault for well-formed input with wrong values (a 422 at an HTTP edge).

    Its `errors` are what tells it from a malformed one.
    """
    shown = errors[: _fitting(errors)]
    extra: dict[str, object] = {"errors": shown}
    if len(errors) > len(shown):
        extra["more"] = True
    places = ", ".join(
        error.get("pointer", error.get("parameter", "")) or "/" for error in shown[:5]
    )
    return Fault(
        Code.INVALID_ARGUMENT,
        f"{subject}: {len(shown)} wrong value{'s'[: len(shown) - 1]}, at {places}",
        effect=Effect.NONE,
        extra=extra,
    )


def _fitting(errors: list[dict[str, str]]) -> int:
    """Return how many errors there is room for: one, whatever it says."""
    room = ROOM
    for count, error in enumerate(errors[:LIMIT]):
        room -= sum(map(len, error.values()))
        if room < 0 and count:
            return count
    return min(len(errors), LIMIT)


def pointer(at: str, name: str) -> str:
    """Go down one name, escaped as RFC 6901 asks."""
    return f"{at}/{name.replace('~', '~0').replace('/', '~1')}"


def reason_of(message: str) -> str:
    """Say in a few words why msgspec found no JSON."""
    reason = message.removeprefix("JSON is malformed: ")
    return "it ends too early" if reason == "Input data was truncated" else reason


def wording(message: str) -> tuple[str, str]:
    """Translate one message of msgspec: the pointer it names, and plain words.

    It may repeat a name as long as the body, that looks like anything a message may hold: what is
    looked for in it, step by step, would hold up the loop. So only its two ends are kept.
    """
    if len(message) > _LONGEST:
        message = f"{message[:_END]}...{message[-_END:]}"
    below = ""
    place = _PLACE.search(message)
    if place is not None:
        message = message[: place.start()]
        for name, index in _STEP.findall(place.group(1)):
            below = pointer(below, name or index)
    if message in _SENTENCES:
        return below, _SENTENCES[message]
    return below, _CODE.sub(_word, message[:1].lower() + message[1:])


def _word(quoted: re.Match[str]) -> str:
    """Say Python's type names in JSON's words; anything else keeps its quotes."""
    words = [_WORDS.get(f"`{part}`") for part in quoted[0].strip("`").split(" | ")]
    known = [word for word in words if word is not None]
    return " or ".join(known) if len(known) == len(words) else quoted[0]
