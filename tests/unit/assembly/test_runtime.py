"""The claim on a data folder, and what a listener says that cannot be."""

import os
import tempfile
from pathlib import Path

import pytest

from switchgear.assembly.failures import StartError
from switchgear.assembly.runtime import Runtime, claim, read_record
from switchgear.assembly.watch import stamps


def test_a_claim_makes_the_folder_private_and_its_release_leaves_no_socket(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    runtime = claim(data)
    assert data.stat().st_mode & 0o066 == 0
    assert runtime.folder.stat().st_mode & 0o777 == 0o700
    assert len(os.fsencode(runtime.socket("accounts-255"))) < 100
    record = read_record(data)
    assert record is not None
    assert (record.pid, record.folder, record.boot) == (
        os.getpid(),
        str(runtime.folder),
        runtime.boot,
    )
    assert (data / "run.json").stat().st_mode & 0o777 == 0o600
    runtime.release()
    assert not runtime.folder.exists()
    assert read_record(data) is None


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    first = claim(tmp_path)
    with pytest.raises(StartError, match=f"already running as pid {os.getpid()} on the data"):
        claim(tmp_path)
    record = read_record(tmp_path)
    assert record is not None
    assert record.boot == first.boot  # the refused one changed nothing
    first.release()
    claim(tmp_path).release()


def test_a_place_for_sockets_that_cannot_be_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    for _ in range(2):  # and the data folder, which could be used, is not held
        with pytest.raises(StartError, match=r"in /nowhere/at/all: No such .* TMPDIR"):
            claim(tmp_path)
    monkeypatch.undo()
    claim(tmp_path).release()


@pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root's roles drop to others")
def test_the_sockets_of_root_are_where_other_accounts_can_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        for mode, base in ((0o711, short), (0o700, "/tmp")):
            os.chmod(short, mode)
            runtime = claim(tmp_path)
            assert str(runtime.folder.parent) == base
            runtime.release()


def test_a_claim_that_cannot_be_written_down_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json.new").mkdir()  # it takes nothing, as a file on a full disk
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        os.chmod(short, 0o711)  # else root makes none there
        monkeypatch.setattr(tempfile, "tempdir", short)
        with pytest.raises(StartError, match="cannot write to the data folder"):
            claim(tmp_path)
        assert os.listdir(short) == []


def test_a_folder_that_was_removed_is_missed_also_where_another_takes_its_place(
    tmp_path: Path,
) -> None:
    runtime = claim(tmp_path)
    assert not runtime.lost()
    first = runtime.folder
    first.rmdir()
    assert runtime.lost()
    first.mkdir(mode=0o700)
    try:
        assert runtime.lost()
        runtime.renew()
        assert not runtime.lost()
        assert runtime.folder != first
        record = read_record(tmp_path)
        assert record is not None
        assert (record.folder, record.boot) == (str(runtime.folder), runtime.boot)
        runtime.release()
        assert not runtime.folder.exists()
    finally:
        first.rmdir()


def killed(runtime: Runtime) -> None:
    """Leave a claim as kill -9 does: the lock is gone, everything else stays."""
    os.close(runtime._lock)


def test_a_boot_that_was_killed_is_swept_by_the_next(tmp_path: Path) -> None:
    first = claim(tmp_path)
    (first.folder / "gateway-1.sock").touch()
    killed(first)
    second = claim(tmp_path)
    assert second.previous is not None
    assert second.previous.boot == first.boot
    assert first.folder.exists()  # the auxiliaries may still need what is in it
    second.sweep()
    assert not first.folder.exists()
    second.release()


@pytest.mark.parametrize("mode", [0o755, None])
def test_a_record_that_names_another_folder_harms_nothing(tmp_path: Path, mode: int | None) -> None:
    precious = tmp_path / "switchgear-precious"
    if mode is None:
        (tmp_path / "target").mkdir(mode=0o700)
        precious.symlink_to(tmp_path / "target")
    else:
        precious.mkdir()
        precious.chmod(mode)
    data = tmp_path / "data"
    data.mkdir()
    (data / "run.json").write_text(f'{{"boot": "00", "pid": 1, "folder": "{precious}"}}')
    runtime = claim(data)
    runtime.sweep()
    assert precious.exists()
    runtime.release()


@pytest.mark.parametrize("content", ["", "{", '{"boot": 7}', "[]"])
def test_a_damaged_record_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    assert read_record(tmp_path) is None
    claim(tmp_path).release()


def test_only_files_that_matter_are_watched(tmp_path: Path) -> None:
    for name in ("app.py", "a/b.sql", ".venv/x.py", "node_modules/y.py", "photo.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    found = stamps(tmp_path)
    assert sorted(found) == [f"{tmp_path}/a/b.sql", f"{tmp_path}/app.py"]
    (tmp_path / "app.py").write_text("22")
    assert stamps(tmp_path) != found
