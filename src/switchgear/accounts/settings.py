"""The figures of accounts, each with its default."""

from typing import Final

import msgspec

from switchgear.accounts.guesses import GuessSettings
from switchgear.identity.claims import SCOPE, SCOPE_CHARS, TokenSettings
from switchgear.identity.passwords import PasswordSettings
from switchgear.policy import ranges

__all__ = ["PASSWORD_CHARS", "AccountsSettings"]

PASSWORD_CHARS: Final = 256
_NAME_CHARS: Final = 200  # a gateway reads no token without end
_MOST_SESSIONS: Final = 10_000  # each sign-in looks through those of its account


class AccountsSettings(msgspec.Struct, frozen=True):
    """What a new account gets, and how long tokens live (seconds).

    `default_scopes` is all that registration ever grants: none, unless the configuration says so.
    """

    default_scopes: tuple[str, ...] = ()
    issuer: str = "switchgear"
    audience: str = "switchgear"
    access_lifetime: float = 600.0
    refresh_idle: float = 14 * 86_400.0  # an unused session ends
    refresh_whole: float = 90 * 86_400.0  # and any session in the end
    refresh_grace: float = 10.0  # a lost answer may be asked for again, once
    sessions: int = 64  # of one account at a time: over that, the one that was unused longest ends
    password_least: int = 10  # characters
    passwords: PasswordSettings = PasswordSettings()
    guesses: GuessSettings = GuessSettings()

    def __post_init__(self) -> None:
        """Refuse what would be found out only by whoever signs in."""
        for name in ("issuer", "audience"):
            if not 0 < len(getattr(self, name)) <= _NAME_CHARS:
                raise ValueError(ranges.words(self, name, f"1 to {_NAME_CHARS} characters"))
        ranges.between(
            self, "access_lifetime", 1, TokenSettings(self.issuer, self.audience).longest
        )
        ranges.above(self, "refresh_idle", 0)
        ranges.above(self, "refresh_whole", 0)
        ranges.between(self, "refresh_grace", 0, 60)
        ranges.between(self, "sessions", 1, _MOST_SESSIONS)
        ranges.between(self, "password_least", 1, PASSWORD_CHARS)
        wrong = next((one for one in self.default_scopes if not SCOPE.fullmatch(one)), None)
        if wrong is not None:
            right = "names without blanks, quotes and backslashes"
            raise ValueError(ranges.words(self, "default_scopes", right))
        if len(" ".join(self.default_scopes)) > SCOPE_CHARS:
            raise ValueError(f"default_scopes are longer than {SCOPE_CHARS} characters in all")
