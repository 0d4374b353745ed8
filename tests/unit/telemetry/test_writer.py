"""The log's way out: order, batches, bounds, and sinks that fail."""

import errno
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from switchgear.telemetry.writer import DescriptorSink, LogWriter, RotatingFile

PATIENCE = 30.0


class Held:
    """A sink that blocks until released, as a pipe does whose reader sleeps."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[bytes]] = []

    def write(self, lines: list[bytes]) -> None:
        self.entered.set()
        self.release.wait(PATIENCE)
        self.batches.append(lines)


class Failing:
    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.lines: list[bytes] = []

    def write(self, lines: list[bytes]) -> None:
        if self.errors:
            raise OSError(self.errors.pop(0), "no")
        self.lines += lines


def state(writer: LogWriter) -> tuple[int, int, OSError | None]:
    """Return (written, dropped, failure) as they are now."""
    return writer.written, writer.dropped, writer.failure


def test_lines_come_out_whole_and_in_order(tmp_path: Path) -> None:
    target = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    writer = LogWriter(DescriptorSink(target))
    for number in range(5000):
        writer.put(b"line %d" % number)
    writer.close(PATIENCE)
    os.close(target)
    assert (tmp_path / "log").read_bytes() == b"".join(b"line %d\n" % n for n in range(5000))
    assert (writer.written, writer.dropped) == (5000, 0)


def test_a_blocked_sink_costs_lines_and_never_the_caller() -> None:
    sink = Held()
    writer = LogWriter(sink, bound_bytes=1000)
    writer.put(b"x" * 99)  # and its end
    writer.flush(0)
    assert sink.entered.wait(PATIENCE)
    taken = sum(writer.put(b"y" * 99) for _ in range(50))
    assert (taken, writer.dropped) == (9, 41)
    sink.release.set()
    writer.close(PATIENCE)
    assert writer.written == 10
    assert not writer.put(b"late")


def test_close_gives_up_on_a_blocked_sink_and_counts_what_is_lost() -> None:
    sink = Held()
    writer = LogWriter(sink)
    writer.put(b"first")
    writer.flush(0)
    assert sink.entered.wait(PATIENCE)
    writer.put(b"second")
    writer.close(0.01)
    assert writer.dropped == 1
    sink.release.set()


def test_a_full_disk_loses_a_batch_and_the_next_is_tried() -> None:
    sink = Failing(errno.ENOSPC)
    writer = LogWriter(sink)
    writer.put(b"lost")
    assert writer.flush(PATIENCE)
    assert isinstance(writer.failure, OSError)
    writer.put(b"kept")
    writer.close(PATIENCE)
    assert sink.lines == [b"kept"]
    assert state(writer) == (1, 1, None)


def test_a_pipe_is_used_again_when_it_has_another_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    def read() -> int:
        return os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)

    first = read()
    target = os.open(tmp_path / "pipe", os.O_WRONLY)
    writer = LogWriter(DescriptorSink(target))
    os.close(first)
    for _ in range(2):
        writer.put(b"lost")
        assert writer.flush(PATIENCE)
        assert "Broken pipe" in writer.trouble()
    second = read()
    writer.put(b"kept")
    writer.close(PATIENCE)
    assert (os.read(second, 99), writer.trouble()) == (b"kept\n", "")
    assert state(writer) == (1, 2, None)
    os.close(second)
    os.close(target)


def test_a_descriptor_that_is_closed_is_used_no_more() -> None:
    sink = Failing(errno.EBADF)
    writer = LogWriter(sink)
    writer.put(b"lost")
    assert writer.flush(PATIENCE)
    assert not writer.put(b"refused")
    writer.close(PATIENCE)
    assert (sink.lines, writer.dropped) == ([], 2)


def test_on_a_pipe_no_write_is_longer_than_what_is_atomic(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, target = os.pipe()
    sizes: list[int] = []
    real = os.write

    def write(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    DescriptorSink(target).write([b"z" * 999] * 20)
    monkeypatch.undo()
    os.close(target)
    with open(reader, "rb") as lines:
        assert lines.read() == (b"z" * 999 + b"\n") * 20
    assert max(sizes) <= 4096
    assert all(size % 1000 == 0 for size in sizes)


def test_a_file_turns_its_page_and_keeps_one_predecessor(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "gateway-1.jsonl"
    sink = RotatingFile(path, 4096)
    for letter in b"abcdef":
        sink.write([bytes([letter]) * 1500])
    sink.close()
    assert path.read_bytes() == b"e" * 1500 + b"\n" + b"f" * 1500 + b"\n"
    assert path.with_name("gateway-1.jsonl.1").read_bytes()[:1] == b"c"
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_somebody_has_taken_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = RotatingFile(path, 4096)
    sink.write([b"one"])
    path.rename(tmp_path / "moved")
    sink.write([b"two"])
    assert path.read_bytes() == b"two\n"
    path.rename(tmp_path / "moved")
    path.write_bytes(b"")  # logrotate's `create`
    sink.write([b"three"])
    assert path.read_bytes() == b"three\n"
    path.unlink()
    sink.write([b"four"])
    assert path.read_bytes() == b"four\n"
    sink.write([b"a" * 4000])
    os.truncate(path, 0)  # its `copytruncate`
    sink.write([b"b" * 4000])
    sink.close()
    assert path.read_bytes() == b"b" * 4000 + b"\n"
    assert not path.with_name("log.1").exists()


def test_a_file_whose_folder_is_gone_is_told_and_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    sink = RotatingFile(folder / "log", 4096)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        sink.write([b"one"])
    folder.mkdir()
    sink.write([b"two"])
    sink.close()
    assert (folder / "log").read_bytes() == b"two\n"


def test_a_file_that_cannot_be_opened_anew_is_tried_again(tmp_path: Path) -> None:
    """In a flood of connections there is no descriptor left, just when the page is full."""
    path = tmp_path / "gateway-1.jsonl"
    sink = RotatingFile(path, 4096)
    writer = LogWriter(sink)
    writer.put(b"a" * 4000)
    assert writer.flush(PATIENCE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        for count in (1, 2):
            writer.put(b"b" * 1000)
            assert writer.flush(PATIENCE)
            assert writer.dropped == count
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert writer.failure is not None
    assert writer.failure.errno == errno.EMFILE
    writer.put(b"c" * 1000)
    assert writer.flush(PATIENCE)
    writer.close(PATIENCE)
    sink.close()
    assert path.read_bytes() == b"c" * 1000 + b"\n"
    assert path.with_name("gateway-1.jsonl.1").read_bytes() == b"a" * 4000 + b"\n"


@contextmanager
def full_after(most_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size: what is written up to it is written, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_line_that_a_disk_took_in_part_is_cut_off_and_what_is_lost_is_told(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    file = RotatingFile(path, 10_000)
    with full_after(1000), pytest.raises(OSError, match="too large"):
        file.write([b"a" * 299] * 5)
    assert path.read_bytes().splitlines() == [b"a" * 299] * 3
    file.write([b"after"])
    file.close()
    assert path.read_bytes().splitlines() == [b"a" * 299] * 3 + [b"after"]


def test_a_line_after_one_that_a_disk_took_in_part_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sink = DescriptorSink(descriptor)
    with full_after(1000):
        for _ in range(2):
            with pytest.raises(OSError, match="too large"):
                sink.write([b"a" * 299] * 5)
    sink.write([b"after"])
    sink.write([b"and on"])
    os.close(descriptor)
    assert path.read_bytes().splitlines() == [b"a" * 299] * 3 + [b"a" * 100, b"after", b"and on"]


def test_a_link_in_the_place_of_a_file_is_not_written_through(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    path = tmp_path / "supervisor.jsonl"
    sink = RotatingFile(path, 4096)
    path.unlink()
    path.symlink_to(other)
    with pytest.raises(OSError, match=r"supervisor\.jsonl"):
        RotatingFile(path, 4096)
    sink.write([b"a" * 4000])
    sink.write([b"b" * 4000])  # the link is set aside by its own name
    sink.close()
    assert path.read_bytes() == b"b" * 4000 + b"\n"
    assert other.read_bytes() == b"precious"


def test_a_forked_child_logs_through_a_thread_of_its_own(tmp_path: Path) -> None:
    target = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = LogWriter(DescriptorSink(target))
    writer.put(b"parent")
    assert writer.flush(PATIENCE)
    child = os.fork()
    if child == 0:
        writer.put(b"child")
        os._exit(0 if writer.flush(PATIENCE) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    writer.close(PATIENCE)
    os.close(target)
    assert (tmp_path / "log").read_bytes() == b"parent\nchild\n"


@pytest.mark.parametrize("flag", [True, False])
def test_a_descriptor_that_somebody_made_nonblocking_loses_nothing(flag: bool) -> None:
    reader, target = os.pipe()
    os.set_blocking(target, not flag)
    writer = LogWriter(DescriptorSink(target))
    for _ in range(200):
        writer.put(b"w" * 999)
    total = b""
    while len(total) < 200_000:
        total += os.read(reader, 65536)
    writer.close(PATIENCE)
    os.close(target)
    os.close(reader)
    assert total == (b"w" * 999 + b"\n") * 200
