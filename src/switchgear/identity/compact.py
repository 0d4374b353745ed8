"""The compact form of a signed token, taken apart without believing any of it.

Source: RFC 7515 section 7.1, RFC 8725.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final, NamedTuple

from switchgear.identity.documents import read_object

__all__ = ["Compact", "encode_part", "join", "split"]

_FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_HEADER_LENGTH: Final = 1024

# They would let the token say how it is to be verified, or change what is signed.
_FORBIDDEN: Final = ("jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "epk")


class Compact(NamedTuple):
    """A token in its parts. Nothing here is verified yet."""

    kid: str
    algorithm: str
    kind: str
    payload: bytes
    signed: bytes
    signature: bytes


def split(token: str) -> Compact:
    """Take a token apart. Raises ValueError saying what is wrong with its form."""
    form = _FORM.fullmatch(token)
    if form is None:
        raise ValueError("it is not three base64url parts")
    head, body, seal = form.groups()
    if len(head) > _HEADER_LENGTH:
        raise ValueError("its header is too long")
    try:
        header = read_object(_decoded(head))
    except ValueError as error:
        raise ValueError(f"its header cannot be read: {error}") from None
    for name in _FORBIDDEN:
        if name in header:
            raise ValueError(f"its header holds {name!r}")
    end = form.end(2)
    return Compact(
        kid=_text(header, "kid"),
        algorithm=_text(header, "alg"),
        kind=_text(header, "typ"),
        payload=_decoded(body),
        signed=token[:end].encode(),
        signature=_decoded(seal),
    )


def _text(header: dict[str, Any], name: str) -> str:
    value = header.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"its header names no {name}")
    return value


def _decoded(part: str) -> bytes:
    """Decode base64url without padding, in its one canonical spelling."""
    if len(part) % 4 == 1:
        raise ValueError("a part has an impossible length")
    data = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if encode_part(data) != part:
        raise ValueError("a part is not in canonical base64url")
    return data


def encode_part(data: bytes) -> str:
    """Encode as base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def join(signed: str, signature: bytes) -> str:
    """Put a token together."""
    return f"{signed}.{encode_part(signature)}"
