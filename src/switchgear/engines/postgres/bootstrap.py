"""The roles, the database and the schemas, made once by whoever may create them.

| role | may |
| --- | --- |
| `<database>_owner` | own the tables of the app (`public`) and of the platform (`switchgear`) |
| `<database>_app` | read and write rows; no DDL, not around row-level security |
| `<database>_accounts` | its own schema `accounts`, which no other role can read |

Roles belong to the whole server: the database's name in theirs keeps two installations apart.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import msgspec

from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.faults import translate
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["Roles", "bootstrap", "role_names"]

DATABASE: Final = "switchgear"
KINDS: Final = ("owner", "app", "accounts")
CONNECTING: Final = 10.0  # seconds
LOCK: Final = 0x5357_4745_4152  # "SWGEAR": one bootstrap at a time

# Bounds that hold whatever a process does: a transaction that a hung one keeps open would hold
# back the cleaning of every queue, and a migration must not wait for a lock for ever.
BOUNDS: Final[Mapping[str, Mapping[str, str]]] = {
    "owner": {"lock_timeout": "10s"},
    "app": {"statement_timeout": "60s", "idle_in_transaction_session_timeout": "60s"},
    "accounts": {
        "statement_timeout": "60s",
        "idle_in_transaction_session_timeout": "60s",
        "search_path": "accounts",  # the one schema it may enter
    },
}

SCHEMAS: Final = """
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO {app}, {accounts};
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {owner};
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO {owner};
CREATE SCHEMA IF NOT EXISTS migrations AUTHORIZATION {owner};
CREATE SCHEMA IF NOT EXISTS switchgear AUTHORIZATION {owner};
CREATE SCHEMA IF NOT EXISTS accounts AUTHORIZATION {accounts};
"""

# As the owner: what it makes from now on is the app's to use, and only to use.
GRANTS: Final = """
GRANT USAGE ON SCHEMA public, switchgear TO {app};
ALTER DEFAULT PRIVILEGES IN SCHEMA public, switchgear
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app};
ALTER DEFAULT PRIVILEGES IN SCHEMA public, switchgear GRANT USAGE, SELECT ON SEQUENCES TO {app};
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO {app};
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
"""


class Roles(msgspec.Struct, frozen=True):
    """How to connect as each role."""

    owner: Dsn
    app: Dsn
    accounts: Dsn


def role_names(database: str = DATABASE) -> tuple[str, ...]:
    """Return the names of the roles, for which `bootstrap` needs passwords."""
    return tuple(f"{database}_{kind}" for kind in KINDS)


async def bootstrap(admin: Dsn, passwords: Mapping[str, str], database: str = DATABASE) -> Roles:
    """Make the roles, the database and its schemas, as far as they are missing.

    `admin` may create roles and databases; `passwords` has one for each of `role_names`, which
    are set anew each time. Idempotent, and safe beside another one. Raises a Fault.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,49}", database):
        raise Fault(
            Code.INVALID_ARGUMENT,
            f"the database name {database!r} must be lower-case letters, digits and underscores",
            effect=Effect.NONE,
        )
    names = dict(zip(KINDS, role_names(database), strict=True))
    inside = msgspec.structs.replace(admin, database=database)
    roles = Roles(
        *(
            msgspec.structs.replace(inside, user=name, password=passwords[name])
            for name in names.values()
        )
    )
    try:
        async with _connected(admin) as connection:
            await connection.execute("SET lock_timeout = '30s'")
            await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
            await _make_roles(connection, names, passwords)
            await _make_database(connection, database, names["owner"])
            async with _connected(inside) as within:
                await within.execute(SCHEMAS.format(database=database, **names))
            async with _connected(roles.owner) as owner:
                await owner.execute(GRANTS.format(**names))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        fault = translate(error)
        if fault is None:
            raise
        raise fault from error
    return roles


async def _make_roles(
    connection: Any, names: Mapping[str, str], passwords: Mapping[str, str]
) -> None:
    known = {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
    query = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    supreme = await connection.fetchval(query)
    rights = "LOGIN NOCREATEDB NOCREATEROLE NOINHERIT"
    if supreme:  # only a superuser may even deny these; what is new lacks them anyway
        rights += " NOSUPERUSER NOBYPASSRLS NOREPLICATION"
    for kind, name in names.items():
        verb = "ALTER" if name in known else "CREATE"
        # The server quotes the password.
        statement = f"SELECT format('{verb} ROLE {name} {rights} PASSWORD %L', $1::text)"
        await connection.execute(await connection.fetchval(statement, passwords[name]))
        for bound, limit in BOUNDS[kind].items():
            await connection.execute(f"ALTER ROLE {name} SET {bound} = '{limit}'")
        if not supreme:  # to give things to a role one must be a member
            await connection.execute(f"GRANT {name} TO CURRENT_USER")


async def _make_database(connection: Any, database: str, owner: str) -> None:
    query = "SELECT 1 FROM pg_database WHERE datname = $1"
    if await connection.fetchval(query, database) is None:
        await connection.execute(f"CREATE DATABASE {database} OWNER {owner}")


@asynccontextmanager
async def _connected(dsn: Dsn) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(**dsn.arguments(), timeout=CONNECTING)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)
