"""The surface of accounts: its routes, as the service answers them and gateways send there."""

from typing import Final, NamedTuple

import msgspec

__all__ = [
    "ENDED",
    "KEYS",
    "REFRESH",
    "REGISTER",
    "SIGN_IN",
    "SIGN_OUT",
    "SURFACE",
    "Ended",
    "Face",
]


class Face(NamedTuple):
    """One route. `credentials`: it takes some, so that its callers are limited more strictly."""

    method: str
    path: str
    deadline: float = 3.0
    credentials: bool = True


# A password waits for its turn to be hashed: see the bounds of `identity.passwords`.
REGISTER: Final = Face("POST", "/accounts", deadline=5.0)
SIGN_IN: Final = Face("POST", "/tokens", deadline=5.0)
REFRESH: Final = Face("POST", "/tokens/refresh")
SIGN_OUT: Final = Face("POST", "/tokens/revoke")
KEYS: Final = Face("GET", "/.well-known/jwks.json", credentials=False)
# For gateways alone: no client's request leads there.
ENDED: Final = Face("GET", "/sessions/ended", deadline=1.8, credentials=False)

SURFACE: Final = (REGISTER, SIGN_IN, REFRESH, SIGN_OUT, KEYS)
"""What clients reach."""


class Ended(msgspec.Struct, frozen=True):
    """A page of the sessions that were ended before their time, oldest first.

    Each with the wall-clock instant up to which there are access tokens of it. `since` and `after`
    ask for the next page; the last one is not `full`.
    """

    sessions: list[tuple[str, float]]
    since: float
    after: str
    full: bool
