"""The files in the home of the embedded server, which belongs to the account that runs it."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from switchgear.engines.postgres.embedded import EmbeddedPostgres
from switchgear.engines.postgres.server_log import ServerLog
from switchgear.policy.fault import Fault


@pytest.mark.parametrize("name", ["log", "lock"])
async def test_a_link_that_the_account_has_planted_leads_root_nowhere(
    data_folder: Path, tmp_path: Path, name: str
) -> None:
    server = EmbeddedPostgres(data_folder)
    await server.start()
    await server.stop()
    other = tmp_path / "other"
    other.write_text("precious\n")
    planted = data_folder / "postgres" / name
    planted.unlink()
    planted.symlink_to(other)
    with pytest.raises(Fault, match=rf"must be a plain file.*/{name}'"):
        await server.start()
    assert other.read_text() == "precious\n"
    planted.unlink()
    await server.start()
    await server.stop()


async def test_what_clients_make_it_print_does_not_fill_the_disk(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServerLog.__init__, "__defaults__", (10_000, 0.01))
    log = data_folder / "postgres" / "log"
    server = EmbeddedPostgres(data_folder)
    dsn = await server.start()
    connection = await asyncpg.connect(**dsn.arguments())
    for _ in range(10):
        for _ in range(40):
            with pytest.raises(asyncpg.UndefinedTableError):
                await connection.execute("SELECT 'some kilobytes in all' FROM nowhere")
        async with asyncio.timeout(5):
            while log.stat().st_size > 10_000:
                await asyncio.sleep(0.01)
    await connection.close()
    await server.stop()
    before = log.with_name("log.1")
    assert before.stat().st_size <= 10_000
    assert "nowhere" in before.read_text()
