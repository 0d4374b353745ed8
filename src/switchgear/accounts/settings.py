"""The figures of accounts, each with its default."""

import msgspec

from switchgear.identity.passwords import PasswordSettings

__all__ = ["AccountsSettings"]


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
    password_least: int = 10  # characters
    passwords: PasswordSettings = PasswordSettings()
