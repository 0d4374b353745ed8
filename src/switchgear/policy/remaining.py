"""Deadlines across hops: what is left of one travels as a duration, for clocks differ.

Three spellings are understood: our own header, that of gRPC and that of Envoy. A stranger can only
shorten what we would give, and gets no less than a floor: who leaves less would only ever see
timeouts. Our own hops are believed to the millisecond, also when nothing is left.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md (Timeout); Envoy's HTTP
router filter (x-envoy-expected-rq-timeout-ms).
"""

import re
from collections.abc import Callable
from typing import Final

__all__ = ["FLOOR", "HEADER", "grpc_timeout", "read_remaining", "remaining_ms", "shortened"]

HEADER: Final = "switchgear-deadline-ms"
FLOOR: Final = 0.1  # seconds
_MOST: Final = 999_999_999  # milliseconds, eleven days: what nine digits can say

_GRPC: Final = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNITS: Final = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "S": 1.0, "M": 60.0, "H": 3600.0}
_PER_SECOND: Final = (
    ("n", 1e9),
    ("u", 1e6),
    ("m", 1e3),
    ("S", 1.0),
    ("M", 1 / 60),
    ("H", 1 / 3600),
)
_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def remaining_ms(deadline: float, now: float) -> str:
    """Write what is left until `deadline`, in whole milliseconds, rounded down.

    Both are instants on one clock, in seconds. What is past is 0.
    """
    return str(int(min(max(0.0, (deadline - now) * 1000), _MOST)))


def grpc_timeout(seconds: float) -> str:
    """Write a duration as gRPC does: eight digits at most, in the finest unit that can say it.

    It is rounded down, never up: a hop must not be given more than there is.
    """
    for unit, per_second in _PER_SECOND:
        amount = max(0.0, seconds) * per_second
        if amount < 1e8:
            return f"{int(amount)}{unit}"
    return "99999999H"


def read_remaining(get: Callable[[str], str | None], *, trusted: bool = False) -> float | None:
    """Return the seconds within which the caller wants its answer; None when it does not say.

    `get` returns a header by its name in lower case. Only a `trusted` caller, one of our own hops,
    is believed in our own header, which then counts alone: it has taken account of the others.
    What cannot be read is passed over.
    """
    if trusted:
        ours = get(HEADER)
        if ours is not None and _MILLISECONDS.fullmatch(ours):
            return int(ours) / 1000
    wanted: list[float] = []
    grpc = get("grpc-timeout")
    if grpc is not None and (found := _GRPC.fullmatch(grpc)) is not None:
        wanted.append(int(found[1]) * _UNITS[found[2]])
    envoy = get("x-envoy-expected-rq-timeout-ms")
    if envoy is not None and _MILLISECONDS.fullmatch(envoy) and int(envoy) > 0:  # 0: no timeout
        wanted.append(int(envoy) / 1000)
    return max(FLOOR, min(wanted)) if wanted else None


def shortened(longest: float, asked: float | None) -> float:
    """Return the seconds to give a call: what its caller `asked` for, at most `longest`.

    Nothing left (0.0) is an answer, too: `asked or longest` would give it everything.
    """
    return longest if asked is None else min(longest, asked)
