"""The system's database: prepared once by whoever comes first, or a sentence why it cannot be."""

import asyncio
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import msgspec
import pytest

from switchgear.assembly import database as room
from switchgear.assembly.database import Database, run_as
from switchgear.assembly.failures import StartError
from switchgear.assembly.secret import Secret, SecretUrl
from switchgear.assembly.settings import Database as DatabaseSettings
from switchgear.assembly.settings import Settings, Trust
from switchgear.engines.postgres import bootstrap as bootstrapping
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.tables import PostgresTables
from tests.support.postgres import *  # noqa: F403 - fixtures
from tests.support.postgres import reachable_folder, run

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root can drop to others")


def external(dsn: Dsn, data: Path, key: str = "") -> Settings:
    trust = Trust(Secret(value=key)) if key else Trust()
    place = DatabaseSettings(url=SecretUrl(value=dsn.url()))
    return Settings(data=str(data), database=place, trust=trust)


def app_with(folder: Path, **migrations: str) -> str:
    (folder / "migrations").mkdir(parents=True)
    for name, sql in migrations.items():
        (folder / "migrations" / f"{name.removeprefix('m')}.sql").write_text(sql)
    return str(folder)


async def ask(url: str, sql: str) -> None:
    tables = PostgresTables(Dsn.parse(url))
    try:
        async with tables.transaction(asyncio.get_running_loop().time() + 10) as tx:
            await tx.execute(sql)
    finally:
        await tables.close()


async def refused(settings: Settings, folder: str = "") -> str:
    with pytest.raises(StartError) as raised:
        await Database(settings, folder).start()
    assert raised.value.sentence.startswith("the database is not ready: ")
    return raised.value.sentence


async def test_an_external_database_is_prepared_and_its_roles_offered(
    database: Dsn, tmp_path: Path
) -> None:
    folder = app_with(tmp_path / "app", m0001_items="create table item (id int);")
    settings = external(database, tmp_path / "data")
    one = Database(settings, folder)
    assert (one.offers(), one.external, one.alive()) == ({}, True, True)
    await one.start()
    offers = one.offers()
    assert sorted(offers) == ["accounts", "app"]
    assert database.password not in str(offers)
    await ask(offers["app"], "insert into item (id) values (1)")
    await ask(offers["accounts"], "select 1 from account")
    for url, sql in ((offers["app"], "create table mine (id int)"),
                     (offers["app"], "select 1 from accounts.account"),
                     (offers["accounts"], "select 1 from public.item")):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(url, sql)
    passwords = tmp_path / "data" / "postgres-passwords.json"
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    again = Database(settings, folder)
    await again.start()
    assert again.offers() == offers
    await again.stop()  # somebody else's server: it goes on
    await ask(offers["app"], "select 1 from item")


async def test_several_prepare_it_at_once(database: Dsn, tmp_path: Path) -> None:
    folder = app_with(tmp_path / "app", m0001_items="create table item (id int);")
    settings = external(database, tmp_path / "data", key="k" * 40)
    several = [Database(settings, folder) for _ in range(4)]
    await asyncio.gather(*(one.start() for one in several))
    assert len({str(one.offers()) for one in several}) == 1


async def test_machines_that_share_a_key_share_the_passwords(database: Dsn, tmp_path: Path) -> None:
    first = Database(external(database, tmp_path / "one", key="k" * 40), "")
    second = Database(external(database, tmp_path / "two", key="k" * 40), "")
    await first.start()
    await second.start()
    assert first.offers() == second.offers()
    assert not (tmp_path / "one").exists()
    assert "k" * 40 not in str(first.offers())


async def test_a_role_that_may_not_create_roles_is_told_what_it_needs(
    postgres: Dsn, database: Dsn, tmp_path: Path
) -> None:
    await run(postgres, "create role weak login password 'weak'")
    weak = msgspec.structs.replace(database, user="weak", password="weak")
    try:
        said = await refused(external(weak, tmp_path))
        assert "permission denied" in said
        assert "must be allowed to create roles and databases" in said
        assert "CREATEROLE CREATEDB" in said
    finally:
        await run(postgres, "drop role weak")


async def test_a_server_that_is_not_there_or_does_not_know_us(
    database: Dsn, tmp_path: Path
) -> None:
    nowhere = msgspec.structs.replace(database, host="127.0.0.1", port=1)
    assert "127.0.0.1" in await refused(external(nowhere, tmp_path))
    stranger = msgspec.structs.replace(database, user="stranger", password="s3cret")
    said = await refused(external(stranger, tmp_path))
    assert "stranger" in said
    assert "s3cret" not in said
    settings = Settings(
        data=str(tmp_path), database=DatabaseSettings(url=SecretUrl(value="mysql://a"))
    )
    assert "postgresql://" in await refused(settings)
    odd = msgspec.structs.replace(database, database="Odd-Name")
    assert "'Odd-Name'" in await refused(external(odd, tmp_path))


async def test_a_data_folder_that_cannot_be_written(database: Dsn, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = await refused(external(database, tmp_path / "file" / "data"))
    assert str(tmp_path / "file") in said


async def test_a_migration_that_fails_shows_its_file_and_line(
    database: Dsn, tmp_path: Path
) -> None:
    sql = "create table item (id int);\n\ncreate table item (id int);\n"
    folder = app_with(tmp_path / "app", m0001_items="create table one (id int);", m0002_more=sql)
    settings = external(database, tmp_path / "data")
    said = await refused(settings, folder)
    assert f"{folder}/migrations/0002_more.sql:3: " in said
    assert 'relation "item" already exists' in said
    (Path(folder) / "migrations" / "0002_more.sql").write_text("create table item (id int);")
    await Database(settings, folder).start()


@pytest.mark.parametrize("place", ["127.0.0.1:1", "nowhere.invalid:5432"])
async def test_a_server_that_cannot_be_reached_is_named(place: str, tmp_path: Path) -> None:
    url = SecretUrl(value=f"postgresql://somebody@{place}/x")
    settings = Settings(data=str(tmp_path), database=DatabaseSettings(url))
    assert (await refused(settings)).endswith(f" (database.url names {place})")


async def test_a_server_that_never_answers_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a firewall that swallows everything, the start said `postgres: TimeoutError`."""
    monkeypatch.setattr(bootstrapping, "CONNECTING", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        url = SecretUrl(value=f"postgresql://somebody@{place}/x")
        said = await refused(Settings(data=str(tmp_path), database=DatabaseSettings(url)))
    assert said == (
        "the database is not ready: postgres: it did not answer in time"
        f" (database.url names {place})"
    )


async def test_an_app_without_migrations(database: Dsn, tmp_path: Path) -> None:
    await Database(external(database, tmp_path / "data"), str(tmp_path)).start()
    await Database(external(database, tmp_path / "data"), "").start()


# The account that roles drop to


@contextmanager
def needing(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> Iterator[None]:
    """Let the interpreter and its packages be at these paths."""
    with monkeypatch.context() as patch:
        patch.setattr(room, "_NEEDED", paths)
        room._stay.cache_clear()
        yield


def settings_for(account: str = "") -> Settings:
    return Settings(database=DatabaseSettings(account=account))


@only_root
def test_root_drops_to_an_account_that_can_read_what_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with reachable_folder() as app, needing(monkeypatch, Path("/usr/bin/env")):
        app.chmod(0o755)
        found = run_as(settings_for("nobody"), app)
        assert found is not None
        assert (found.uid, 65534 in found.groups) == (65534, True)


@only_root
def test_what_standard_error_does_not_take_hinders_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With its disk full, `up` by root ended before it had begun, and without a word."""
    with reachable_folder() as app, needing(monkeypatch, Path("/usr/bin/env")):
        app.chmod(0o700)
        with open("/dev/full", "w", buffering=1) as full, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", full)
            assert run_as(settings_for("nobody"), app) is None
            with suppress(OSError):
                full.close()


@only_root
def test_root_stays_root_where_nobody_else_can_read_what_the_url_names(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with reachable_folder() as folder:
        folder.chmod(0o755)
        key = folder / "key.pem"
        key.touch(0o600)
        url = SecretUrl(value=f"postgresql://h/x?sslkey={key}")
        settings = Settings(database=DatabaseSettings(url=url, account="nobody"))
        with needing(monkeypatch, folder):
            assert run_as(settings, folder) is None
        assert f"roles stay root, because nobody cannot read {key}\n" in capfd.readouterr().err
        key.chmod(0o644)
        with needing(monkeypatch, folder):
            assert run_as(settings, folder) is not None


@only_root
def test_root_stays_root_where_nobody_else_can_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with reachable_folder() as app:
        for mode, what in ((0o700, app), (0o744, app)):
            what.chmod(mode)
            with needing(monkeypatch, Path("/usr/bin/env")):
                assert run_as(settings_for("nobody"), what) is None
                assert run_as(settings_for("nobody"), what) is None, "and says it once"
            said = capsys.readouterr().err
            assert said == f"switchgear: roles stay root, because nobody cannot read {what}\n"
        app.chmod(0o755)
        secret = app / "python"
        secret.touch(0o600)
        with needing(monkeypatch, secret):
            assert run_as(settings_for("nobody"), app) is None
        assert f"nobody cannot read {secret}\n" in capsys.readouterr().err
        home = app / "home"
        home.mkdir(mode=0o700)
        (home / "python").touch(0o755)
        link = app / "link"
        link.symlink_to(home / "python")
        with needing(monkeypatch, link):
            assert run_as(settings_for("nobody"), app) is None
        said = capsys.readouterr().err
        assert f"nobody cannot enter {home}, where {link} leads\n" in said


@only_root
def test_an_account_that_is_not_there_is_no_reason_to_be_root() -> None:
    with pytest.raises(StartError, match="the roles cannot run as 'nosuchaccount'"):
        run_as(settings_for("nosuchaccount"), Path("/"))


def test_an_ordinary_user_drops_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run_as(settings_for("nosuchaccount"), Path("/")) is None
