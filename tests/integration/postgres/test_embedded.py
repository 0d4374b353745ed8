"""The embedded server: made, started, killed in every way, and refused with a reason."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from switchgear.engines.postgres.binaries import find_binaries
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.embedded import EmbeddedPostgres, EmbeddedSettings
from switchgear.engines.postgres.postmaster import members
from switchgear.policy.fault import Code, Fault
from tests.support.postgres import run, running, value

OWNER = Path(__file__).with_name("owner.py")
SPIN = "SELECT max(n) FROM (SELECT generate_series(1, 1e11) AS n) AS counted"
ROOT = os.geteuid() == 0
SYSTEM_PYTHON = f"/usr/bin/python3.{sys.version_info.minor}"
SITE = Path(asyncpg.__file__).parent.parent

only_root = pytest.mark.skipif(not ROOT, reason="platform: only root can drop to another account")


def owner_command(data: Path, python: str = sys.executable) -> tuple[list[str], dict[str, str]]:
    path = os.pathsep.join([*sys.path, str(SITE)])
    environment = {"PYTHONPATH": path, "PATH": os.environ["PATH"]}
    return [python, "-B", str(OWNER), str(data)], environment


def owner_of(data: Path) -> "subprocess.Popen[str]":
    command, environment = owner_command(data)
    return subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


async def gone(data: Path) -> None:
    while members(data / "postgres" / "cluster"):
        await asyncio.sleep(0.01)


async def test_data_outlives_a_stop_and_a_start(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder)
    dsn = await server.start()
    await run(dsn, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    pid = server.pid
    assert pid is not None
    assert server.alive()
    assert await server.start() == dsn, "a second start of the same owner changes nothing"
    assert server.pid == pid
    await server.stop()
    assert not server.alive()
    assert server.pid is None
    async with running(data_folder) as again:
        assert await value(again, "SELECT n FROM kept") == 7


async def test_it_is_private_and_durable(data_folder: Path) -> None:
    async with running(data_folder) as dsn:
        home = data_folder / "postgres"
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "passwords.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(os.stat(dsn.host).st_mode) == 0o700
        assert len(dsn.place) <= 107
        assert await value(dsn, "SHOW listen_addresses") == ""
        assert await value(dsn, "SHOW fsync") == "on"
        assert await value(dsn, "SHOW data_checksums") == "on"
        assert await value(dsn, "SHOW server_encoding") == "UTF8"
        assert dsn.password
        assert dsn.password not in repr(dsn)
        pid = members(home / "cluster")[0]
        assert dsn.password not in Path(f"/proc/{pid}/cmdline").read_text()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(**{**dsn.arguments(), "password": "guessed"})
    assert not os.path.exists(dsn.host), "the socket's folder goes with the server"


async def test_a_terminal_interrupt_does_not_reach_it(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder)
    await server.start()
    assert server.pid is not None
    assert os.getsid(server.pid) != os.getsid(0)
    await server.stop()


@only_root
async def test_as_root_it_runs_as_another_account(data_folder: Path) -> None:
    async with running(data_folder):
        (pid, *_) = members(data_folder / "postgres" / "cluster")
        assert os.stat(f"/proc/{pid}").st_uid != 0
        told = Path(f"/proc/{pid}/status").read_text()
        groups = next(line for line in told.splitlines() if line.startswith("Groups:"))
        assert "0" not in groups.split()[1:], "root's groups are dropped too"


@only_root
async def test_as_root_the_configured_account_runs_it(data_folder: Path) -> None:
    async with running(data_folder, EmbeddedSettings(account="nobody")):
        (pid, *_) = members(data_folder / "postgres" / "cluster")
        assert os.stat(f"/proc/{pid}").st_uid == pwd.getpwnam("nobody").pw_uid
    # The cluster's owner runs it from then on, also when nothing is configured.
    async with running(data_folder):
        (pid, *_) = members(data_folder / "postgres" / "cluster")
        assert os.stat(f"/proc/{pid}").st_uid == pwd.getpwnam("nobody").pw_uid
    if "postgres" in {entry.pw_name for entry in pwd.getpwall()}:
        with pytest.raises(Fault, match="belongs to uid"):
            await EmbeddedPostgres(data_folder, EmbeddedSettings(account="postgres")).start()


@only_root
@pytest.mark.parametrize(
    ("name", "words"), [("root", "refuses to run as 'root'"), ("no-such-account", "no account")]
)
async def test_an_account_that_cannot_serve_is_refused(
    data_folder: Path, name: str, words: str
) -> None:
    with pytest.raises(Fault, match=words) as refused:
        await EmbeddedPostgres(data_folder, EmbeddedSettings(account=name)).start()
    assert refused.value.code is Code.FAILED_PRECONDITION


@only_root
async def test_what_the_account_cannot_reach_is_put_elsewhere(
    data_folder: Path, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    found = find_binaries()
    assert found.root is not None
    copy = closed / "site" / found.root.parent.name / found.root.name
    shutil.copytree(found.root, copy)
    if found.libraries is not None:
        shutil.copytree(found.libraries, closed / "site" / found.libraries.name)
    elsewhere = data_folder.parent / "elsewhere"
    settings = EmbeddedSettings(binaries=copy / "bin", elsewhere=elsewhere)
    async with running(closed / "data", settings) as dsn:
        await run(dsn, "CREATE TABLE kept (n int)")
        pointer = Path((closed / "data" / "postgres.path").read_text().strip())
        (pid, *_) = members(pointer / "cluster")
        assert pointer.is_relative_to(elsewhere)
        assert Path(f"/proc/{pid}/exe").readlink().is_relative_to(elsewhere)
    moved = closed / "moved"
    (closed / "data").rename(moved)
    async with running(moved, settings) as dsn:
        assert await value(dsn, "SELECT count(*) FROM kept") == 0
    assert len([path for path in elsewhere.iterdir() if path.name.startswith("postgres-")]) == 1


@pytest.mark.skipif(
    not ROOT or not os.path.exists(SYSTEM_PYTHON), reason="platform: needs root and a system Python"
)
async def test_an_ordinary_user_runs_it_as_is(data_folder: Path) -> None:
    user = pwd.getpwnam("nobody")
    os.chown(data_folder.parent, user.pw_uid, user.pw_gid)
    command, environment = owner_command(data_folder, SYSTEM_PYTHON)
    owner = subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        cwd="/",
    )
    out, _ = owner.communicate("", timeout=30)
    pid, url = out.split()
    assert pid.isdigit()
    assert f"switchgear-{user.pw_uid}-" in url
    assert (data_folder / "postgres" / "cluster").stat().st_uid == user.pw_uid


async def test_a_killed_postmaster_is_recovered_with_its_busy_backends(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder)
    dsn = await server.start()
    await run(dsn, "CREATE TABLE acknowledged (n int)")
    busy = await asyncpg.connect(**dsn.arguments())
    spinning = asyncio.create_task(busy.fetchval(SPIN))
    while await value(dsn, "SELECT count(*) FROM pg_stat_activity WHERE query ~ '1e11'") != 2:
        await asyncio.sleep(0.01)
    await run(dsn, "INSERT INTO acknowledged SELECT generate_series(1, 1000)")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert await server.wait() == -signal.SIGKILL
    orphans = members(data_folder / "postgres" / "cluster")
    assert orphans, "the busy backend has not noticed"
    again = await server.start()
    assert await value(again, "SELECT count(*) FROM acknowledged") == 1000
    assert not set(orphans) & set(members(data_folder / "postgres" / "cluster"))
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await spinning
    await server.stop()
    assert not members(data_folder / "postgres" / "cluster")


async def test_a_killed_owner_leaves_no_orphan(data_folder: Path) -> None:
    owner = owner_of(data_folder)
    assert owner.stdout is not None
    assert owner.stdin is not None
    pid, url = (await asyncio.to_thread(owner.stdout.readline)).split()
    dsn = Dsn.parse(url)
    await run(dsn, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    with pytest.raises(Fault, match=f"in use by the process {owner.pid}") as refused:
        await EmbeddedPostgres(data_folder).start()
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert await value(dsn, "SELECT n FROM kept") == 7, "the refused one harmed nothing"
    owner.kill()
    owner.wait()
    async with running(data_folder) as again:  # at once: the old server may be going still
        assert await value(again, "SELECT n FROM kept") == 7
        assert int(pid) not in members(data_folder / "postgres" / "cluster")
    owner.stdout.close()
    owner.stdin.close()


async def test_a_killed_owner_alone_ends_the_server(data_folder: Path) -> None:
    owner = owner_of(data_folder)
    assert owner.stdout is not None
    assert owner.stdin is not None
    _, url = (await asyncio.to_thread(owner.stdout.readline)).split()
    assert members(data_folder / "postgres" / "cluster")
    owner.kill()
    owner.wait()
    await asyncio.wait_for(gone(data_folder), 10)
    assert not (data_folder / "postgres" / "cluster" / "postmaster.pid").exists(), "a clean end"
    os.rmdir(Dsn.parse(url).host)
    owner.stdout.close()
    owner.stdin.close()


async def test_a_server_without_its_owner_is_ended_and_replaced(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder)
    dsn = await server.start()
    await run(dsn, "CREATE TABLE kept (n int)")
    assert server.pid is not None
    assert server._lock is not None
    os.close(server._lock)  # as if the owner had died and its server had not been told
    server._lock = None
    async with running(data_folder) as again:
        assert await value(again, "SELECT count(*) FROM kept") == 0
        assert not server.alive()
    await server.stop()


async def test_a_stale_pid_file_harms_no_innocent_process(data_folder: Path) -> None:
    async with running(data_folder):
        pass
    cluster = data_folder / "postgres" / "cluster"
    innocent = subprocess.Popen(["/bin/sleep", "60"], user=cluster.stat().st_uid if ROOT else None)
    lines = f"{innocent.pid}\n{cluster}\n1\n5432\n/tmp\n\n  1 999999\nready\n"
    (cluster / "postmaster.pid").write_text(lines)
    os.chown(cluster / "postmaster.pid", cluster.stat().st_uid, -1)
    async with running(data_folder) as dsn:
        assert await value(dsn, "SELECT 1") == 1
    assert innocent.poll() is None
    innocent.kill()
    innocent.wait()


async def test_a_stale_socket_is_replaced(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder)
    dsn = await server.start()
    await server.stop()
    os.mkdir(dsn.host, 0o700)
    os.chown(dsn.host, (data_folder / "postgres").stat().st_uid, -1)
    left = socket.socket(socket.AF_UNIX)
    left.bind(dsn.place)
    left.close()
    Path(f"{dsn.place}.lock").write_text(f"{os.getppid()}\n")
    async with running(data_folder) as again:
        assert again.host == dsn.host
        assert await value(again, "SELECT 1") == 1


async def test_a_socket_that_somebody_removed_is_made_anew(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder)
    dsn = await server.start()
    try:
        assert server.reachable()
        first = server.pid
        shutil.rmtree(dsn.host)
        assert (server.alive(), server.reachable()) == (True, False)
        again = await server.start()
        assert server.pid != first
        assert await value(again, "SELECT 1") == 1
    finally:
        await server.stop()


async def test_a_squatted_socket_folder_is_not_used(data_folder: Path, tmp_path: Path) -> None:
    async with running(data_folder) as dsn:
        first = Path(dsn.host)
    first.symlink_to(tmp_path)
    try:
        async with running(data_folder) as dsn:
            assert Path(dsn.host) != first
            assert await value(dsn, "SELECT 1") == 1
    finally:
        first.unlink()


async def test_an_interrupted_initdb_leaves_nothing_to_trip_over(data_folder: Path) -> None:
    half = data_folder / "postgres" / "cluster.new"
    half.mkdir(parents=True)
    data_folder.chmod(0o711)
    (half / "PG_VERSION").write_text("18\n")
    async with running(data_folder) as dsn:
        assert await value(dsn, "SELECT 1") == 1
    assert not half.exists()


async def test_another_major_version_is_named(data_folder: Path) -> None:
    async with running(data_folder):
        pass
    (data_folder / "postgres" / "cluster" / "PG_VERSION").write_text("12\n")
    with pytest.raises(Fault, match=r"was made by PostgreSQL 12, and .* 18"):
        await EmbeddedPostgres(data_folder).start()


async def test_a_cluster_without_its_passwords_or_its_mark_is_told_and_left_as_it_is(
    data_folder: Path,
) -> None:
    async with running(data_folder):
        pass
    home = data_folder / "postgres"
    (home / "passwords.json").rename(home / "kept")
    with pytest.raises(Fault, match=r"the password file .*/passwords\.json is missing, and the"):
        await EmbeddedPostgres(data_folder).start()
    assert not (home / "passwords.json").exists(), "one that is made up stands in a backup's way"
    (home / "kept").rename(home / "passwords.json")
    (home / "cluster" / "PG_VERSION").rename(home / "kept")
    with pytest.raises(Fault, match=r"/cluster is no cluster of PostgreSQL .* PG_VERSION\): rest"):
        await EmbeddedPostgres(data_folder).start()
    (home / "kept").rename(home / "cluster" / "PG_VERSION")
    async with running(data_folder) as dsn:
        assert await value(dsn, "SELECT 1") == 1


async def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Fault, match=r"the data folder .*file/data cannot be used") as refused:
        await EmbeddedPostgres(tmp_path / "file" / "data").start()
    assert refused.value.code is Code.FAILED_PRECONDITION


async def test_missing_binaries_are_named(data_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="does not hold both initdb and postgres"):
        await EmbeddedPostgres(data_folder, EmbeddedSettings(binaries=tmp_path)).start()


async def test_a_wrong_option_is_told_in_the_servers_words(data_folder: Path) -> None:
    settings = EmbeddedSettings(options={"no_such_setting": "1"})
    with pytest.raises(Fault, match='unrecognized configuration parameter "no_such_setting"'):
        await EmbeddedPostgres(data_folder, settings).start()
    async with running(data_folder) as dsn:
        assert await value(dsn, "SELECT 1") == 1


async def test_a_cancelled_start_leaves_nothing(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder)
    starting = asyncio.create_task(server.start())
    await asyncio.sleep(0.1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    async with running(data_folder) as dsn:
        assert await value(dsn, "SELECT 1") == 1


async def test_a_start_that_is_called_off_leaves_a_frozen_server_to_the_next_one(
    data_folder: Path,
) -> None:
    """To end one takes most of a minute: whoever has pressed Ctrl-C is not to wait for that."""
    owner = owner_of(data_folder)
    assert owner.stdout is not None
    assert await asyncio.to_thread(owner.stdout.readline)
    cluster = data_folder / "postgres" / "cluster"
    os.kill(int((cluster / "postmaster.pid").read_text().split()[0]), signal.SIGSTOP)
    frozen = members(cluster)  # there will be no more
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    owner.kill()
    owner.communicate()
    starting = asyncio.create_task(
        EmbeddedPostgres(data_folder, EmbeddedSettings(stop_timeout=1.0)).start()
    )
    await asyncio.sleep(0.3)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert sorted(members(cluster)) == sorted(frozen)
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    async with running(data_folder) as dsn:
        assert await value(dsn, "SELECT 1") == 1


async def test_a_stop_that_is_called_off_keeps_no_thread_at_its_work(data_folder: Path) -> None:
    threads = ThreadPoolExecutor()
    asyncio.get_running_loop().set_default_executor(threads)
    server = EmbeddedPostgres(data_folder)
    await server.start()
    cluster = data_folder / "postgres" / "cluster"
    assert server.pid is not None
    postmaster = server.pid
    backends = [pid for pid in members(cluster) if pid != postmaster]
    for pid in backends:
        os.kill(pid, signal.SIGSTOP)
    os.kill(postmaster, signal.SIGKILL)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.3)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    threads.shutdown()  # as the end of a process does
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
    assert sorted(members(cluster)) == sorted(backends)
    for pid in backends:
        os.kill(pid, signal.SIGCONT)
    async with running(data_folder) as dsn:
        assert await value(dsn, "SELECT 1") == 1
