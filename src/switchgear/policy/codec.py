"""The written forms of a fault: whole for our own hops, and what a stranger may see.

The internal form is JSON in printable ASCII, so that it fits a header of HTTP, a header of a
message and an ack of Socket.IO alike. Nothing is lost in it within these bounds, counted as
written; what is beyond them is cut, and the value says so:

| member | at most | when it is longer |
| --- | --- | --- |
| `detail`, `public` | 1024, 512 characters | ends in ` [cut]` |
| `origin`, each hop | 96 characters | ends in ` [cut]` |
| `hops` | 16 | `...` stands for those between the nearest to the origin and to us |
| `extra` | 2048 characters | members are left out, and `cut` says how many |

So no form is longer than 6 KiB. Versions mix: members that are not known are passed over, an
unknown code or effect is `unknown`, an unknown refusal none.
"""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

import msgspec

from switchgear.policy.fault import PUBLIC, Code, Effect, Fault, Refusal
from switchgear.policy.status import effect_of_status, http_status

__all__ = ["ack_error", "ack_within", "decode", "encode", "fault_of_ack", "public_form"]

CUT: Final = " [cut]"
LONGEST: Final = 8192  # characters that are read at all
_DETAIL: Final = 1024
_SENTENCE: Final = 512
_NAME: Final = 96
_EXTRA: Final = 2048
_HOPS: Final = 16
_NEAREST: Final = 8  # of the hops that are kept: those nearest to the origin
_GAP: Final = "..."

_UNSURE: Final = "The service is unavailable; whether it did what was asked is not known."

_encode: Final = msgspec.json.Encoder().encode
_ODD: Final = re.compile(r"[^ -~]")
_CODES: Final = {code.value: code for code in Code}
_EFFECTS: Final = {effect.value: effect for effect in Effect}
_REFUSALS: Final[dict[str | None, Refusal]] = {refusal.value: refusal for refusal in Refusal}


class _Whole(msgspec.Struct, omit_defaults=True):
    """The internal form. What a newer version may add to a closed set is read as text."""

    code: str
    detail: str = ""
    effect: str = Effect.UNKNOWN.value
    refusal: str | None = None
    retry_after: float | None = None
    origin: str = ""
    hops: tuple[str, ...] = ()
    public: str | None = None
    extra: dict[str, Any] = {}


class _Public(msgspec.Struct):
    """What is read of a stranger's form."""

    code: str
    detail: str = ""
    retry_after: float | None = None


_decode: Final = msgspec.json.Decoder(_Whole).decode
_read_back: Final = msgspec.json.Decoder().decode


def encode(fault: Fault) -> str:
    """Write all of a fault, for our own hops alone. Never fails.

    Surrogates that stand alone become question marks, a `retry_after` without end none.
    """
    ours = PUBLIC[fault.code]
    return _ascii(
        _encode(
            _Whole(
                fault.code.value,
                "" if fault.detail == ours else _fit(fault.detail, _DETAIL),
                fault.effect.value,
                None if fault.refusal is None else fault.refusal.value,
                fault.retry_after,  # without end it is null in JSON, which is none
                _fit(fault.origin, _NAME),
                tuple(_fit(hop, _NAME) for hop in _few(fault.hops)),
                None if fault.public == ours else _fit(fault.public, _SENTENCE),
                _members(fault.extra),
            )
        )
    )


def decode(text: str | bytes) -> Fault | None:
    """Read a fault back; None for what is none. Never fails.

    What it says is believed, so it must have come from one of our own.
    """
    if len(text) > LONGEST:
        return None
    try:
        return _fault(_decode(text))
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors, too
        return None


def public_form(fault: Fault) -> dict[str, Any]:
    """Say of a fault what a stranger may know: `code`, `detail`, `effect`, `retry_after`, `extra`.

    `detail` is the public sentence, as in a problem document (RFC 9457). `effect` says whether it
    may have been done, unless the status says it: whoever is told 404 is told that nothing was.
    Members of `extra` replace none of these. Which rule a dependency broke (`reason`) is ours to
    know.
    """
    told: dict[str, Any] = {"code": fault.code.value, "detail": _sentence(fault)}
    if fault.effect is Effect.DONE or effect_of_status(http_status(fault)) is Effect.UNKNOWN:
        told["effect"] = fault.effect.value
    if fault.retry_after is not None and isfinite(fault.retry_after):
        told["retry_after"] = max(0.0, fault.retry_after)
    for member, value in fault.extra.items():
        if member != "reason" or not fault.origin:
            told.setdefault(member, value)
    return told


def _sentence(fault: Fault) -> str:
    """Return the public sentence. What may have been done is not to be asked again without care."""
    unsure = fault.code is Code.UNAVAILABLE and fault.effect is not Effect.NONE
    return _UNSURE if unsure and fault.public == PUBLIC[fault.code] else fault.public


def ack_error(fault: Fault) -> dict[str, Any]:
    """Make the acknowledgement by which a stranger learns of a fault."""
    return {"error": public_form(fault)}


def ack_within(fault: Fault) -> dict[str, Any]:
    """Make the acknowledgement by which one of our own learns of a fault: all of it."""
    return {"error": public_form(fault), "fault": _read_back(encode(fault))}


def fault_of_ack(ack: object, origin: str = "", *, trusted: bool = False) -> Fault | None:
    """Read an acknowledgement back into a fault; None for one that tells of none. Never fails.

    Only a `trusted` peer, one of our own, is believed about all of it. Of a stranger we take the
    code and the wait; its sentence is for our operators, its further members are nobody's.
    """
    if not isinstance(ack, Mapping) or "error" not in ack:
        return None
    try:
        if trusted and "fault" in ack:
            return _fault(msgspec.convert(ack["fault"], _Whole))
        told = msgspec.convert(ack["error"], _Public)
    except (ValueError, RecursionError):
        return Fault(Code.UNKNOWN, "an error that cannot be read", origin=origin)
    wait = told.retry_after
    return Fault(
        _CODES.get(told.code, Code.UNKNOWN),
        _fit(told.detail, _DETAIL),
        retry_after=wait if wait is not None and 0 <= wait < 1e6 else None,
        origin=origin,
    )


def _fault(whole: _Whole) -> Fault:
    return Fault(
        _CODES.get(whole.code, Code.UNKNOWN),
        whole.detail,
        effect=_EFFECTS.get(whole.effect, Effect.UNKNOWN),
        refusal=_REFUSALS.get(whole.refusal),
        retry_after=whole.retry_after,
        origin=whole.origin,
        hops=whole.hops,
        public=whole.public,
        extra=whole.extra,
    )


def _few(hops: tuple[str, ...]) -> tuple[str, ...]:
    """Keep the ends of a long chain: where the fault came from, and how it came to us."""
    if len(hops) <= _HOPS:
        return hops
    return (*hops[:_NEAREST], _GAP, *hops[_NEAREST + 1 - _HOPS :])


def _members(extra: Mapping[str, object]) -> dict[str, Any]:
    """Keep the members that fit, in their order, and can be read back."""
    kept: dict[str, Any] = {}
    room, left = _EXTRA, 0
    for name, value in extra.items():
        try:
            written = _ascii(_encode({name: value}))
            _read_back(written)
        except (TypeError, ValueError, RecursionError, OverflowError):
            left += 1
            continue
        if len(written) > room:
            left += 1
            continue
        room -= len(written)
        kept[name] = value
    if left:
        kept["cut"] = left
    return kept


def _fit(text: str, most: int) -> str:
    """Return the text as it can be written in at most so many characters."""
    text = text.encode(errors="replace").decode()  # else a lone surrogate ends it all
    if _width(text) <= most:
        return text
    room, kept = most - len(CUT), 0
    while (width := _width(text[kept])) <= room:
        room -= width
        kept += 1
    return text[:kept] + CUT


def _width(text: str) -> int:
    return len(_ascii(_encode(text))) - 2


def _ascii(written: bytes) -> str:
    """Escape what is not printable ASCII (in JSON that is DEL, and all beyond)."""
    return _ODD.sub(_escape, written.decode())


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
