"""Deadlines that clients ask for: they can shorten ours, never lengthen it (rule 11)."""

import re
from typing import Final

from switchgear.http.headers import Headers

__all__ = ["FLOOR", "asked_for"]

FLOOR: Final = 0.1  # seconds; who leaves less would only ever see timeouts

# Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md (Timeout)
_GRPC: Final = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def asked_for(headers: Headers) -> float | None:
    """Return the seconds within which the client wants its answer, at least the floor.

    Understands `grpc-timeout` and `x-envoy-expected-rq-timeout-ms`; what cannot be read is ignored.
    """
    wanted: list[float] = []
    grpc = headers.get("grpc-timeout")
    if grpc is not None and (found := _GRPC.fullmatch(grpc)) is not None:
        wanted.append(int(found[1]) * _UNITS[found[2]])
    envoy = headers.get("x-envoy-expected-rq-timeout-ms")
    if envoy is not None and _MILLISECONDS.fullmatch(envoy) and int(envoy) > 0:
        wanted.append(int(envoy) / 1000)
    return max(FLOOR, min(wanted)) if wanted else None
