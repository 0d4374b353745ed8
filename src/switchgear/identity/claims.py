"""What access tokens say, and for whom they are made."""

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from switchgear.identity.internal import Vouched
from switchgear.policy.call import Principal

__all__ = ["SCOPE", "SCOPE_CHARS", "Claims", "TokenSettings", "Verified"]

SCOPE: Final = re.compile(r"[!#-\[\]-~]+")
"""One scope: without blanks, for those stand between them (RFC 6749 section 3.3)."""

SCOPE_CHARS: Final = 2048
"""Of all the scopes of one token, as they are written, with the blanks between them."""

_Instant = Annotated[float, Meta(ge=0, le=2**53)]
_Name = Annotated[str, Meta(min_length=1, max_length=255)]


class TokenSettings(msgspec.Struct, frozen=True):
    """Who issues tokens for whom, and how much of the clock's error is forgiven (in seconds)."""

    issuer: str
    audience: str
    lifetime: Annotated[float, Meta(gt=0)] = 900.0
    longest: Annotated[float, Meta(gt=0)] = 86_400.0  # of foreign tokens: what revocations cover
    leeway: Annotated[float, Meta(ge=0, le=120)] = 15.0
    token_bytes: int = 4096
    memory: int = 20_000  # verified tokens


class Claims(msgspec.Struct):
    """The claims we read. Others may stand there and mean nothing to us."""

    iss: str
    sub: _Name
    aud: str | list[str]
    exp: _Instant
    iat: _Instant
    nbf: _Instant = 0.0
    jti: str = ""
    scope: Annotated[str, Meta(max_length=SCOPE_CHARS)] = ""
    tenant: Annotated[str, Meta(max_length=255)] = ""
    sid: Annotated[str, Meta(max_length=255)] = ""


class Verified(msgspec.Struct, frozen=True):
    """A verified token: who calls, until when (wall clock), in which session, by which key."""

    principal: Principal
    expires: float
    issued: float
    session: str
    kid: str
    vouched: Vouched  # what a gateway vouches for with this token, kept for `InternalTokens.mint`
    digest: bytes = b""  # of the token, by which it is remembered
