"""The server's log: two pages of a bounded size, and never somebody else's file."""

import asyncio
import os
from pathlib import Path

import pytest

from switchgear.engines.postgres.places import open_plain
from switchgear.engines.postgres.server_log import ServerLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_full_page_is_set_aside_while_its_writer_goes_on(path: Path) -> None:
    log = ServerLog(path, most_bytes=100)
    with log.open() as printed:
        os.write(printed.fileno(), b"a" * 100)
        log.turn()
        assert path.stat().st_size == 100, "it is not too long yet"
        os.write(printed.fileno(), b"b")
        log.turn()
        os.write(printed.fileno(), b"c\n")
    assert path.read_bytes() == b"c\n", "behind no hole"
    assert (path.parent / "log.1").read_bytes() == b"a" * 99 + b"b"
    assert log.tail(1) == "\n"


def test_of_a_page_that_is_far_too_long_the_end_is_kept(path: Path) -> None:
    path.write_bytes(b"a" * 1000 + b"b" * 100)
    path.with_name("log.1").write_bytes(b"the one before")
    ServerLog(path, most_bytes=100).turn()
    assert path.with_name("log.1").read_bytes() == b"b" * 100
    assert sorted(one.name for one in path.parent.iterdir()) == ["log", "log.1"]
    assert path.with_name("log.1").stat().st_mode & 0o777 == 0o600


def test_a_page_that_cannot_be_kept_is_emptied_all_the_same(path: Path) -> None:
    path.write_bytes(b"a" * 101)
    path.with_name("log.1").mkdir()
    with pytest.raises(OSError, match=r"log\.1"):
        ServerLog(path, most_bytes=100).turn()
    assert path.stat().st_size == 0
    assert not path.with_name("log.new").exists()


async def test_it_is_watched_until_it_rests(path: Path) -> None:
    log = ServerLog(path, most_bytes=100, every=0.001)
    log.watch()
    await asyncio.sleep(0.01)  # there is no file yet, which ends no watch
    with log.open() as printed:
        os.write(printed.fileno(), b"a" * 101)
        async with asyncio.timeout(5):
            while path.stat().st_size:
                await asyncio.sleep(0.001)
        log.rest()
        await asyncio.sleep(0.01)
        os.write(printed.fileno(), b"a" * 101)
        await asyncio.sleep(0.05)
    assert path.stat().st_size == 101


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_CREAT])
@pytest.mark.parametrize("kind", ["symlink", "hard link", "FIFO"])
def test_what_only_leads_to_a_file_is_not_opened(path: Path, kind: str, flags: int) -> None:
    """The home belongs to the account that root has dropped to, and root opens files there."""
    other = path.with_name("other")
    other.write_bytes(b"precious")
    if kind == "symlink":
        path.symlink_to(other)
    elif kind == "hard link":
        path.hardlink_to(other)
    else:
        os.mkfifo(path)
    with pytest.raises(OSError, match="log"):
        os.close(open_plain(path, flags))
    assert other.read_bytes() == b"precious"
