"""What travels beside and inside a message, as text: the trace, and the body as JSON.

A dead letter and a reply that failed bring their fault along, all of it: the broker is ours.
"""

from typing import TypeVar

import msgspec

from switchgear.policy.call import Trace
from switchgear.policy.codec import decode, encode
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["body_of", "fault_in", "headers_of", "trace_of", "with_fault"]

T = TypeVar("T")


class Headers(msgspec.Struct, frozen=True, omit_defaults=True):
    """Members that a later version does not know are passed over, so that versions mix."""

    traceparent: str = ""


class _Failing(msgspec.Struct):
    fault: msgspec.Raw = msgspec.Raw()


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


def with_fault(headers: str, fault: Fault) -> str:
    """Add the fault that a message ended by to what travels beside it, or put it in its place.

    What else is there stays; headers that cannot be read are replaced, never a reason to lose the
    message.
    """
    try:
        members = msgspec.json.decode(headers, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        members = {}
    members["fault"] = msgspec.Raw(encode(fault).encode("ascii"))
    return msgspec.json.encode(members).decode()


def fault_in(headers: str) -> Fault | None:
    """Read the fault that a message ended by; None where there is none that can be read."""
    try:
        written = msgspec.json.decode(headers, type=_Failing).fault
    except (ValueError, RecursionError):
        return None
    return decode(bytes(written))


def body_of(body: bytes, kind: type[T]) -> T:
    """Read a body. Raises a Fault (invalid_argument) for one that no attempt will ever read."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        detail = f"the message cannot be read as {kind.__name__}: {error}"
        raise Fault(Code.INVALID_ARGUMENT, detail, effect=Effect.NONE) from error
