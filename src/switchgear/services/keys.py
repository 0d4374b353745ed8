"""Idempotency keys: how a request bears one, whose it is, and what was asked with it.

Source: draft-ietf-httpapi-idempotency-key-header, RFC 9651 section 3.3.3 (strings).
"""

import re
from hashlib import sha256
from typing import Final

from switchgear.http.message import Request
from switchgear.policy.call import Principal
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["LONGEST", "fingerprint_of", "key_in", "scope_of", "wrong_key"]

LONGEST: Final = 255  # characters

# As the draft has it, and as most clients send it: a UUID, or another name without blanks.
_QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')
_BARE: Final = re.compile(r"[!#-+\--:<-\[\]-~]+")  # neither quotes, commas, semicolons, backslashes
_ESCAPED: Final = re.compile(r"\\(.)")


def key_in(value: str) -> str:
    """Read the key that a header says, in quotes or without.

    Raises Fault (400) for what is none, and for two of them.
    """
    quoted = _QUOTED.fullmatch(value)
    key = _ESCAPED.sub(r"\1", quoted[1]) if quoted else value
    if (quoted or _BARE.fullmatch(value)) and len(key) <= LONGEST:
        return key
    raise wrong_key(f"the idempotency key {value[:60]!r} is none")


def wrong_key(detail: str) -> Fault:
    """Make the fault of a request whose key is missing, or none."""
    return Fault(
        Code.INVALID_ARGUMENT,
        detail,
        effect=Effect.NONE,
        public=f"Send one Idempotency-Key of 1 to {LONGEST} characters, a UUID for instance.",
    )


def scope_of(who: Principal, route: str, key: str) -> bytes:
    """Return under what the outcome is recorded: one principal's key, for one route."""
    return _digest(who.tenant.encode(), who.subject.encode(), route.encode(), key.encode())


def fingerprint_of(request: Request, body: bytes) -> bytes:
    """Return what tells a repeated request from another one that bears the same key."""
    line = (request.method, request.path, request.query)
    return _digest(*(part.encode("utf-8", "surrogatepass") for part in line), body)


def _digest(*parts: bytes) -> bytes:
    """Hash the parts, each with its length: no others are written alike."""
    whole = sha256()
    for part in parts:
        whole.update(b"%d:" % len(part))
        whole.update(part)
    return whole.digest()
