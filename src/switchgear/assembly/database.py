"""The database of a whole system: embedded or external, its roles, its schemas, its migrations."""

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from hmac import digest
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

import switchgear.accounts
from switchgear.assembly.failures import StartError, told
from switchgear.assembly.messages import RunAs
from switchgear.assembly.settings import Settings
from switchgear.engines.postgres.account import Account, choose_account
from switchgear.engines.postgres.bootstrap import Roles, bootstrap, role_names
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.embedded import EmbeddedPostgres, EmbeddedSettings
from switchgear.engines.postgres.migrations import migrate, read_migrations
from switchgear.engines.postgres.passwords import Passwords
from switchgear.engines.postgres.queue import install
from switchgear.policy.fault import Code, Fault

__all__ = ["Database", "check_migrations", "check_url", "run_as"]

_OWN: Final = "switchgear"  # the database's name where the configuration names none
_RIGHTS: Final = (
    ". The role that database.url names must be allowed to create roles and databases"
    " (ALTER ROLE ... CREATEROLE CREATEDB), and own the database if there is one already"
)


class Database:
    """The auxiliary that roles get their database from.

    `start` brings the server up (an embedded one is recovered first), makes roles and schemas where
    they are missing, and applies migrations under a lock: the platform's, those of accounts,
    the app's. An external server that goes away later is not this auxiliary's to restart.
    """

    name = "database"

    def __init__(self, settings: Settings, folder: str) -> None:
        self._settings = settings
        self._folder = folder
        self._embedded: EmbeddedPostgres | None = None
        if settings.database.url is None:
            account = EmbeddedSettings(account=settings.database.account)
            self._embedded = EmbeddedPostgres(Path(settings.data) / "postgres", account)
        self._roles: Roles | None = None

    @property
    def external(self) -> bool:
        """Whether the configuration names a server of somebody else's."""
        return self._embedded is None

    async def start(self) -> None:
        """Make the database ready for the roles.

        Raises StartError that says what stands in the way.
        """
        try:
            self._roles = await self._prepared()
        except Fault as fault:
            hint = self._hint(fault.code) if self.external else ""
            raise StartError(f"the database is not ready: {fault.detail}{hint}") from None
        except (asyncpg.PostgresError, ValueError) as error:
            if self.external and isinstance(error, asyncpg.InsufficientPrivilegeError):
                raise StartError(f"the database is not ready: {error.args[0]}{_RIGHTS}") from None
            raise StartError(f"the database is not ready: {error}") from None
        except OSError as error:
            raise StartError(
                f"the database is not ready: {error.filename or 'postgres'}: {told(error)}"
            ) from None

    async def stop(self) -> None:
        """Stop the embedded server; leave an external one alone."""
        if self._embedded is not None:
            await self._embedded.stop()

    def alive(self) -> bool:
        """Say whether the embedded server runs and can be reached.

        An external one is watched by those who use it.
        """
        embedded = self._embedded
        return embedded is None or (embedded.alive() and embedded.reachable())

    def trouble(self) -> str:
        """Say of the embedded server that its disk is full; an external one's disk is not ours."""
        return "" if self._embedded is None else self._embedded.trouble()

    def offers(self) -> Mapping[str, str]:
        """Return the addresses of the database, by the role that it is to be used as."""
        if self._roles is None:
            return {}
        return {"app": self._roles.app.url(), "accounts": self._roles.accounts.url()}

    def _hint(self, code: Code) -> str:
        """Say of an external server what the library does not: which it is, what it must allow."""
        url = self._settings.database.url
        if url is not None and code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
            return f" (database.url names {Dsn.parse(url.reveal()).place})"
        return ""

    async def _prepared(self) -> Roles:
        url = self._settings.database.url
        passwords: Passwords | _Shared
        if url is None:
            assert self._embedded is not None  # noqa: S101 - the one or the other
            admin, name = await self._embedded.start(), _OWN
            passwords = self._embedded.passwords()
        else:
            admin = Dsn.parse(url.reveal())
            name = admin.database if admin.database != "postgres" else _OWN
            passwords = _Shared(self._settings)
        roles = await bootstrap(admin, passwords.of(*role_names(name)), name)
        await install(roles.owner)
        await migrate(
            roles.accounts,
            Path(switchgear.accounts.__file__).with_name("migrations"),
            "accounts",
            ledger="accounts.migrations_applied",
        )
        own = _own_migrations(self._folder)
        if own is not None:
            await migrate(roles.owner, own, "app")
        return roles


def check_url(settings: Settings) -> None:
    """Read the URL of an external database as a start does, and connect to nothing.

    Raises StartError for one that is none of PostgreSQL's, asks for what nobody would heed, or
    names a file that is not there.
    """
    url = settings.database.url
    if url is None:
        return
    try:
        Dsn.parse(url.reveal()).check_files()
    except Fault as fault:
        raise StartError(f"database.url ({url.place}): {fault.detail}") from None


def check_migrations(folder: str) -> int:
    """Read the migrations that an app has in its folder as a start does, and apply none.

    Returns how many there are.

    Raises StartError for a name that is none, and a number that is missing or there twice.
    """
    own = _own_migrations(folder)
    if own is None:
        return 0
    try:
        return len(read_migrations(own))
    except Fault as fault:
        raise StartError(f"the database would not be ready: {fault.detail}") from None
    except OSError as error:
        why = f"cannot read {error.filename}: {told(error)}"
        raise StartError(f"the database would not be ready: {why}") from None


def _own_migrations(folder: str) -> Path | None:
    own = Path(folder) / "migrations"
    return own if folder and own.is_dir() else None


class _Shared:
    """The roles' passwords on an external server: the same for all who prepare it.

    Processes of several machines share the internal key, and derive them from it; those of one
    machine share a file in the data folder.
    """

    def __init__(self, settings: Settings) -> None:
        self._key = settings.trust.internal_key
        self._data = Path(settings.data)

    def of(self, *roles: str) -> dict[str, str]:
        """Return the password of each role."""
        if self._key is not None:
            key = self._key.reveal().encode()
            return {
                role: digest(key, f"password {role}".encode(), "sha256").hex() for role in roles
            }
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Passwords(self._data / "postgres-passwords.json").of(*roles)


def run_as(settings: Settings, app: Path) -> RunAs | None:
    """Return the account that root's roles drop to, if they can.

    They can where that account reads what they run (the interpreter, its packages, the app) and
    what the database's URL names.

    Raises StartError where the configuration names an account that cannot be used.
    """
    if os.geteuid() != 0:
        return None
    wanted = settings.database.account
    try:
        account = choose_account(wanted)
    except Fault as fault:
        if wanted:
            raise StartError(f"the roles cannot run as {wanted!r}: {fault.detail}") from None
        _stay(fault.detail)
        return None
    for path in (*_NEEDED, app, *_named(settings)):
        if not account.reads(path) or (path.is_dir() and not account.reaches(path)):
            _stay(f"{account.name} {_barred(account, path)}")
            return None
    return RunAs(account.uid, account.gid, tuple(os.getgrouplist(account.name, account.gid)))


_NEEDED: Final = tuple(
    Path(one) for one in (sys.executable, os.__file__, msgspec.__file__, __file__, sys.prefix)
)


def _named(settings: Settings) -> Iterable[Path]:
    """Return the files that the database's URL names; one that is none is told of elsewhere."""
    url = settings.database.url
    with suppress(Fault):
        files = {} if url is None else Dsn.parse(url.reveal()).files
        return [path for path in files.values() if path.exists()]
    return []


def _barred(account: Account, path: Path) -> str:
    """Say what keeps an account from a path: a closed folder on the way, or the path itself.

    An interpreter's link may be open to all, and lead into somebody's home.
    """
    for folder in reversed(path.resolve().parents):
        if not account.reaches(folder):
            return f"cannot enter {folder}, where {path} leads"
    return f"cannot read {path}"


@cache  # said once, however often a changed app is planned anew
def _stay(why: str) -> None:
    with suppress(OSError):  # a full disk, or no reader, is no reason not to start
        sys.stderr.write(f"switchgear: roles stay root, because {why}\n")
        sys.stderr.flush()
