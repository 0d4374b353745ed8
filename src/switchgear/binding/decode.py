"""Body decoders: bytes in, a typed value out, or a fault that lists every wrong field."""

from collections.abc import Callable
from typing import Any

import msgspec

from switchgear.binding.crowds import dispersed, hashes_decimals, hashes_numbers
from switchgear.binding.explain import refusal
from switchgear.binding.shape import shape_of
from switchgear.binding.strict import Scrutiny

__all__ = ["Decode", "body_decoder"]

Decode = Callable[[bytes], Any]


def body_decoder(annotation: Any, subject: str, *, lenient: bool = False) -> Decode:
    """Compile the decoder of one JSON body: strict types, no unknown or repeated names.

    `subject` names the function in the fault's detail. Types with pydantic models are decoded by
    pydantic, which is imported only for them. A `lenient` decoder lets unknown and repeated
    names pass.

    Raises TypeError for an annotation that no decoder can serve.
    """
    from switchgear.binding import models  # beside its peer: it knows what pydantic's types are

    if models.holds_model(annotation):
        return models.model_decoder(annotation, subject, lenient=lenient)
    return _msgspec_decoder(annotation, subject, lenient=lenient)


def _msgspec_decoder(annotation: Any, subject: str, *, lenient: bool) -> Decode:
    node = shape_of(annotation)
    decode: Decode = msgspec.json.Decoder(annotation).decode
    if hashes_numbers(node):
        decode = _looked_through(decode, subject, decimals=hashes_decimals(node))
    scrutiny = Scrutiny(node)
    wrong, colons = scrutiny.wrong, scrutiny.colons

    def loose(body: bytes) -> Any:
        try:
            return decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise refusal(node, body, subject, error, lenient=True) from None

    def strict(body: bytes) -> Any:
        try:
            value = decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise refusal(node, body, subject, error) from None
        if body.count(b":") == colons and b"\\" not in body:
            return value
        try:
            found = wrong(body, value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise refusal(node, body, subject, error) from None
        if found is None:
            return value
        raise refusal(node, body, subject, found)

    return loose if lenient else strict


def _looked_through(decode: Decode, subject: str, *, decimals: bool) -> Decode:
    """Look through a body for crowds before it is decoded."""

    def look_and_decode(body: bytes) -> Any:
        dispersed(body, subject, decimals=decimals)
        return decode(body)

    return look_and_decode
