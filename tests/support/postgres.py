"""A real PostgreSQL for tests: the embedded one, started once per session.

Import the fixtures into a conftest: `from tests.support.postgres import *`. `postgres` is the
server as its superuser, `database` an empty database of the test's own, `roles` a database with the
three roles of an installation.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter

import asyncpg
import msgspec
import pytest

from switchgear.engines.postgres.bootstrap import Roles, bootstrap, role_names
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.embedded import EmbeddedPostgres, EmbeddedSettings
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.ports.tables import Transaction

__all__ = ["data_folder", "database", "postgres", "roles"]

_numbers = itertools.count(1)


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that another account can walk through; pytest's own is closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="switchgear-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def data_folder() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder / "data"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Dsn]:
    # Nothing here outlives the machine, so nothing needs the disk.
    settings = EmbeddedSettings(options={"fsync": "off", "max_connections": "60"})
    with reachable_folder() as folder:
        server = EmbeddedPostgres(folder / "data", settings)
        dsn = asyncio.run(server.start())
        try:
            yield dsn
        finally:
            asyncio.run(server.stop("immediate"))


@pytest.fixture
def roles(postgres: Dsn) -> Iterator[Roles]:
    name = f"app_{next(_numbers)}"
    passwords = dict.fromkeys(role_names(name), "s3cret")
    yield asyncio.run(bootstrap(postgres, passwords, name))
    drops = [f"DROP ROLE {role}" for role in role_names(name)]
    asyncio.run(run(postgres, f"DROP DATABASE {name} WITH (FORCE)", *drops))


@pytest.fixture
def database(postgres: Dsn) -> Iterator[Dsn]:
    name = f"test_{next(_numbers)}"
    asyncio.run(run(postgres, f"CREATE DATABASE {name}"))
    yield msgspec.structs.replace(postgres, database=name)
    asyncio.run(run(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@asynccontextmanager
async def asking(database: Dsn) -> AsyncIterator[Transaction]:
    """Give a transaction of ours, from its beginning to its commit."""
    tables = PostgresTables(database)
    try:
        async with tables.transaction(perf_counter() + 10.0) as tx:
            yield tx
    finally:
        await tables.close()


async def run(dsn: Dsn, *statements: str) -> None:
    connection = await asyncpg.connect(**dsn.arguments())
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def running(data: Path, settings: EmbeddedSettings | None = None) -> AsyncIterator[Dsn]:
    """Run a server of the test's own."""
    server = EmbeddedPostgres(data, settings)
    try:
        yield await server.start()
    finally:
        await server.stop()


async def value(dsn: Dsn, query: str) -> object:
    connection = await asyncpg.connect(**dsn.arguments())
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
