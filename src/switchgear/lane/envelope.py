"""What travels beside and inside a message, as text: the trace, and the body as JSON."""

from typing import TypeVar

import msgspec

from switchgear.policy.call import Trace
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["body_of", "headers_of", "trace_of"]

T = TypeVar("T")


class Headers(msgspec.Struct, frozen=True, omit_defaults=True):
    """Members that a later version does not know are passed over, so that versions mix."""

    traceparent: str = ""


def headers_of(trace: Trace | None) -> str:
    """Write what travels beside the body."""
    if trace is None:
        return "{}"
    flags = "01" if trace.sampled else "00"
    parent = f"00-{trace.trace_id}-{trace.span_id}-{flags}"
    return msgspec.json.encode(Headers(parent)).decode()


def trace_of(headers: str) -> Trace | None:
    """Read the trace; one that cannot be read is none, never a reason to refuse the message."""
    try:
        parent = msgspec.json.decode(headers, type=Headers).traceparent
        version, trace, span, flags = parent.split("-")[:4]
        int(trace, 16), int(span, 16), int(version, 16)
    except ValueError:  # msgspec's errors are ValueErrors, too
        return None
    if len(trace) != 32 or len(span) != 16:
        return None
    return Trace(trace, span, flags == "01")


def body_of(body: bytes, kind: type[T]) -> T:
    """Read a body. Raises a Fault (invalid_argument) for one that no attempt will ever read."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        detail = f"the message cannot be read as {kind.__name__}: {error}"
        raise Fault(Code.INVALID_ARGUMENT, detail, effect=Effect.NONE) from error
