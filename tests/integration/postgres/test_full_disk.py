"""The embedded server on a full disk: what is told, and that it starts when there is room again."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from switchgear.core.clock import FINE
from switchgear.engines.postgres.cluster import explained
from switchgear.engines.postgres.embedded import EmbeddedPostgres
from switchgear.engines.postgres.places import Home, no_room
from switchgear.engines.postgres.pool import FULL_FOR
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.policy.fault import Code, Effect, Fault
from tests.support.disk import fill, mounted
from tests.support.postgres import run, running, value


@pytest.fixture
def small_disk(data_folder: Path) -> Iterator[Path]:
    with mounted(data_folder.parent / "disk", "70m") as place:
        yield place


async def test_a_full_disk_is_told_at_first_start_and_at_a_later_one(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 60 * 2**20)
    with pytest.raises(Fault, match="full") as refused:
        await EmbeddedPostgres(small_disk / "data").start()
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    filler.unlink()
    async with running(small_disk / "data") as dsn:  # what was half made is made anew
        await run(dsn, "CREATE TABLE kept (n int)")
    fill(filler)
    with pytest.raises(Fault, match="full") as refused:
        await EmbeddedPostgres(small_disk / "data").start()
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    filler.unlink()
    async with running(small_disk / "data") as dsn:
        assert await value(dsn, "SELECT count(*) FROM kept") == 0


async def test_a_start_that_a_full_disk_has_ended_can_be_tried_again(small_disk: Path) -> None:
    filler = small_disk / "filler"
    fill(filler)
    server = EmbeddedPostgres(small_disk / "data")  # as its supervisor has it, over many starts
    for _ in range(2):  # the lock that it could not write its pid into is held no longer
        with pytest.raises(Fault, match="is full") as refused:
            await server.start()
        assert refused.value.code is Code.RESOURCE_EXHAUSTED
    filler.unlink()
    dsn = await server.start()
    try:
        assert await value(dsn, "SELECT 1") == 1
    finally:
        await server.stop()


async def test_a_server_whose_disk_is_full_is_told_of_by_who_writes(small_disk: Path) -> None:
    filler, later = small_disk / "filler", 0.0
    async with running(small_disk / "data") as dsn:
        await run(dsn, "CREATE TABLE lines (text text)")
        tables = PostgresTables(dsn, clock=lambda: FINE() + later)

        async def write() -> None:
            async with tables.transaction(FINE() + later + 30) as tx:
                many = "INSERT INTO lines SELECT repeat('x', 1000) FROM generate_series(1, 500)"
                await tx.execute(many)

        try:
            await write()
            assert tables.trouble() == ""
            fill(filler)
            with pytest.raises(Fault) as full:
                await write()
            assert (full.value.code, full.value.effect) == (Code.UNAVAILABLE, Effect.NONE)
            await tables.probe(FINE() + 30)  # it answers all the while
            assert tables.trouble().startswith("its disk is full: could not extend file")
            filler.unlink()
            await write()
            later = FULL_FOR + 1
            assert tables.trouble() == ""
        finally:
            await tables.close()


async def test_a_full_disk_is_told_where_the_server_could_not_write_so(small_disk: Path) -> None:
    assert explained("did not start", "x", Home(small_disk)).code is Code.FAILED_PRECONDITION
    fill(small_disk / "filler")
    told = explained("did not start", "[7] LOG:  interrupted", Home(small_disk))
    assert told.code is Code.RESOURCE_EXHAUSTED
    assert told.detail.startswith(f"did not start: the disk of {small_disk} is full (0 MiB free)")


def test_what_the_server_adds_to_no_error_is_no_reason(tmp_path: Path) -> None:
    output = """
        [7] LOG:  database system was interrupted while in recovery
        [7] HINT:  This probably means that some data is corrupted
        [7] FATAL:  lock file "postmaster.pid" already exists
        [7] HINT:  Is another postmaster running in data directory?
        [7] LOG:  database system is shut down
    """
    told = explained("did not start", output, Home(tmp_path)).detail
    assert "corrupted" not in told
    assert told == (
        'did not start: [7] FATAL:  lock file "postmaster.pid" already exists'
        " | [7] HINT:  Is another postmaster running in data directory?"
    )


def test_a_disk_on_which_no_file_can_be_made_is_full(data_folder: Path) -> None:
    with mounted(data_folder.parent / "disk", "70m,nr_inodes=8") as place:
        assert no_room(place) == ""
        with suppress(OSError):
            for number in range(8):
                (place / str(number)).touch()
        assert no_room(place) == f"its disk is full: no file can be made in {place}"
