"""The surface of accounts: its four routes, as the service answers them and gateways send there."""

from typing import Final, NamedTuple

__all__ = ["KEYS", "REFRESH", "REGISTER", "SIGN_IN", "SURFACE", "Face"]


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
KEYS: Final = Face("GET", "/.well-known/jwks.json", credentials=False)

SURFACE: Final = (REGISTER, SIGN_IN, REFRESH, KEYS)
