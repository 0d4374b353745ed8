"""One running system, and everything that may befall one of its processes."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes.harness import System, gone, switchgear


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("life"))
    try:
        yield running.ready()
    finally:
        running.clean()


def endpoint(system: System, label: str) -> str:
    return system.topology()[label][2]


def test_every_role_is_a_session_of_its_own_and_knows_its_peers(system: System) -> None:
    rows = system.rows()
    assert [row["label"] for row in rows] == [
        "gateway-1", "gateway-2", "service-1", "service-2", "worker-1",
    ]  # fmt: skip
    assert {row["state"] for row in rows} == {"ready"}
    for row in rows:
        assert os.getsid(row["pid"]) == row["pid"]
    assert {label: one[0] for label, one in system.topology().items()} == {
        "service-1": "ready",
        "service-2": "ready",
    }
    for label in ("service-1", "service-2"):
        assert int(system.get("/pid", endpoint(system, label))) == system.pid(label)


def test_the_boot_key_is_shared_and_shows_nowhere(system: System) -> None:
    keys = {system.get("/key"), system.get("/key", endpoint(system, "service-1"))}
    (key,) = keys
    assert len(key) == 32
    for row in system.rows():
        for name in ("environ", "cmdline"):
            shown = Path(f"/proc/{row['pid']}/{name}").read_bytes()
            assert key not in shown
            assert key.hex().encode() not in shown
    assert b"MALLOC_MMAP_THRESHOLD_=67108864" in system.get("/environ").splitlines()


def test_a_role_gets_the_offers_that_its_spec_names_and_no_other(system: System) -> None:
    assert system.get("/offers") == b"{}"
    assert system.get("/offers", endpoint(system, "service-1")) == b"{'url': 'toy://here'}"


def test_a_crashed_process_is_back_at_once_and_its_neighbours_notice_nothing(
    system: System,
) -> None:
    before, seen = system.pid("service-1"), system.seen
    neighbours = [system.pid(label) for label in ("gateway-1", "gateway-2", "service-2")]
    generation = int(system.topology()["service-1"][1])
    system.get("/crash", endpoint(system, "service-1"))
    assert system.wait("process ended", seen, label="service-1")["how"] == "exit code 7"
    delay = system.wait("process restarting", seen, label="service-1")["delay"]
    assert 0.05 < delay < 0.2
    system.wait("process ready", seen, label="service-1")
    assert system.pid("service-1") != before
    system.until(lambda: system.topology()["service-1"][:2], ["ready", str(generation + 1)])
    assert neighbours == [system.pid(label) for label in ("gateway-1", "gateway-2", "service-2")]


def test_a_killed_gateway_takes_no_connection_attempt_along(system: System) -> None:
    seen = system.seen
    os.kill(system.pid("gateway-1"), signal.SIGSTOP)
    held = [system.open("/pid") for _ in range(8)]
    os.kill(system.pid("gateway-1"), signal.SIGKILL)
    for sock in held:
        with sock:
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK")
    ended = system.wait("process ended", seen, label="gateway-1")
    assert ended["how"] == "killed by SIGKILL"
    system.wait("process ready", seen, label="gateway-1")


def test_a_process_that_stops_for_a_while_is_avoided_and_then_trusted_again(system: System) -> None:
    pid, seen = system.pid("service-2"), system.seen
    os.kill(pid, signal.SIGSTOP)
    system.wait("process unroutable", seen, label="service-2")
    system.until(lambda: system.topology()["service-2"][0], "unroutable")
    os.kill(pid, signal.SIGCONT)
    system.wait("process routable", seen, label="service-2")
    system.until(lambda: system.topology()["service-2"][0], "ready")
    assert system.pid("service-2") == pid


def test_a_hung_process_is_avoided_then_tells_its_stacks_and_is_killed(system: System) -> None:
    seen = system.seen
    system.open("/hang", endpoint(system, "service-2")).close()
    system.wait("process unroutable", seen, label="service-2")
    blocked = system.wait("process blocked", seen, label="service-2")
    lines = Path(__file__).with_name("toys.py").read_text().splitlines()
    hangs = next(number for number, line in enumerate(lines, 1) if "time.sleep(3600)" in line)
    assert blocked["at"].endswith(f"toys.py:{hangs} in answer")
    assert blocked["pid"] == system.pid("service-2")
    assert system.row("service-2")["degraded"] == [f"blocked at toys.py:{hangs} in answer"]
    hung = system.wait("process hung", seen, label="service-2")
    assert "toys.py" in hung["stacks"]
    assert hung["stacks"].count("in answer") == 1, "what was written before is told once"
    assert system.wait("process ended", seen, label="service-2")["how"] == "killed by SIGKILL"
    system.wait("process ready", seen, label="service-2")
    assert system.row("service-2")["degraded"] == []


def test_what_is_late_twice_is_told_once_and_in_no_death(system: System) -> None:
    """Its stacks are long, and what stands still again and again would fill the log."""
    seen = system.seen
    at = endpoint(system, "service-1")
    for _ in range(2):
        before = system.seen
        system.open("/block", at).close()
        system.wait("process unroutable", before, label="service-1")
        system.wait("process routable", before, label="service-1")
    assert system.row("service-1")["degraded"] == []
    os.kill(system.pid("service-1"), signal.SIGKILL)
    assert system.wait("process ended", seen, label="service-1")["stacks"] == ""
    told = [one for one in system.events[seen:] if one["event"] == "process blocked"]
    assert [one["label"] for one in told] == ["service-1"]
    system.wait("process ready", seen, label="service-1")


def test_a_process_stopped_for_too_long_is_killed_although_it_can_tell_nothing(
    system: System,
) -> None:
    seen = system.seen
    os.kill(system.pid("worker-1"), signal.SIGSTOP)
    system.wait("process unroutable", seen, label="worker-1")
    assert system.wait("process hung", seen, label="worker-1")["stacks"] == ""
    system.wait("process ready", seen, label="worker-1")


def test_a_fatal_signal_leaves_its_stacks_in_the_log(system: System) -> None:
    seen = system.seen
    system.open("/segv", endpoint(system, "service-1")).close()
    ended = system.wait("process ended", seen, label="service-1")
    assert ended["how"] == "killed by SIGSEGV"
    assert "Segmentation fault" in ended["stacks"]
    system.wait("process ready", seen, label="service-1")


def test_what_a_process_had_started_ends_with_it(system: System) -> None:
    seen = system.seen
    child = int(system.get("/children", endpoint(system, "service-1")))
    os.kill(system.pid("service-1"), signal.SIGKILL)
    system.wait("process ready", seen, label="service-1")
    system.until(lambda: gone(child), True)


def test_a_machine_that_was_frozen_blames_nobody(system: System) -> None:
    seen = system.seen
    pids = [row["pid"] for row in system.rows()]
    frozen = (system.process.pid, system.pid("worker-1"))
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(3)  # longer than what counts as hung
    assert system.get("/pid")  # the supervisor is no part of serving
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.1)
    assert pids == [row["pid"] for row in system.rows()]
    assert system.events[seen:] == []


def test_a_degraded_process_stays_ready(system: System) -> None:
    seen = system.seen
    (system.data / "mood").write_text("connection refused")
    told = system.wait("degraded", seen, label="worker-1")
    assert told["reasons"] == ["database: connection refused"]
    row = system.row("worker-1")
    assert (row["state"], row["degraded"]) == ("ready", ["database: connection refused"])
    (system.data / "mood").unlink()
    assert system.wait("degraded", seen, label="worker-1", reasons=[])["level"] == "info"


def test_an_auxiliary_that_dies_is_started_again(system: System) -> None:
    seen = system.seen
    pid = int((system.data / "aux.pid").read_text())
    (system.data / "aux-fails").touch()
    os.kill(pid, signal.SIGKILL)
    assert system.wait("auxiliary down", seen)["why"].startswith("it died")
    system.wait("auxiliary down", seen, why="the toybase has no room")
    assert system.status()["auxiliaries"] == {"toybase": False}
    assert system.status()["troubles"] == {"toybase": "the toybase has no room"}
    (system.data / "aux-fails").unlink()
    system.wait("auxiliary up", seen)
    assert system.status()["auxiliaries"] == {"toybase": True}
    assert system.status()["troubles"] == {}


def test_what_is_wrong_with_an_auxiliary_that_runs_is_told(system: System) -> None:
    (system.data / "aux-full").touch()
    assert system.status()["troubles"] == {"toybase": "no room"}
    shown = switchgear("status", "--data=data", cwd=system.folder).stdout
    assert [line.split() for line in shown.splitlines() if "toybase" in line] == [
        ["toybase", "up", "no", "room"]
    ]
    (system.data / "aux-full").unlink()


def test_a_folder_of_sockets_that_somebody_removed_is_made_anew(system: System) -> None:
    before, folder = {system.pid("service-1"), system.pid("gateway-1")}, system.record.folder
    shutil.rmtree(folder)
    gone = system.wait("sockets gone")
    assert gone["folder"] == folder
    system.until(lambda: system.record.folder != folder, True)
    system.until(lambda: {row["state"] for row in system.rows()}, {"ready"})
    assert before.isdisjoint({row["pid"] for row in system.rows()})
    _, _, address = system.topology()["service-1"]
    assert address.startswith(f"unix:{system.record.folder}/")
    assert int(system.get("/pid", address)) == system.pid("service-1")
    assert not Path(folder).exists()


def test_metrics_of_all_processes_are_one_page(system: System) -> None:
    system.get("/pid")
    page = system.ask("metrics")
    for label in ("gateway-1", "gateway-2", "service-1", "service-2", "worker-1"):
        assert f'switchgear_process_answered{{process="{label}"}} 1' in page
        assert f'process_resident_memory_bytes{{process="{label}"}}' in page
        assert f'event_loop_lag_seconds_bucket{{process="{label}",le="+Inf"}}' in page
        assert f'seat_ready{{process="supervisor",seat="{label}"}} 1' in page
    assert page.count("# TYPE process_cpu_seconds_total counter") == 1


def test_a_silent_process_costs_its_answer_and_no_more(system: System) -> None:
    pid, seen = system.pid("worker-1"), system.seen
    os.kill(pid, signal.SIGSTOP)
    heard = system.ask("ask", {"verb": "state"})
    os.kill(pid, signal.SIGCONT)
    assert "did not answer 'state' within 2 s" in heard["errors"]["worker-1"]
    assert heard["answers"]["gateway-1"]["draining"] is False
    system.wait("process routable", seen, label="worker-1")


def test_the_status_command_shows_every_process(system: System) -> None:
    shown = switchgear("status", "--data=data", cwd=system.folder)
    assert shown.returncode == 0, shown.stderr
    for word in (
        "gateway-1",
        "worker-1",
        "ready",
        "toybase",
        system.url,
        str(system.pid("gateway-2")),
    ):
        assert word in shown.stdout


def test_one_seat_can_be_given_a_fresh_process(system: System) -> None:
    before, seen = system.pid("gateway-2"), system.seen
    assert system.ask("replace", "gateway-2") == ["gateway-2"]
    assert system.wait("process ended", seen, label="gateway-2")["wanted"] is True
    system.wait("process ready", seen, label="gateway-2")
    assert system.pid("gateway-2") != before
    assert system.row("gateway-2")["state"] == "ready"


def test_a_second_system_on_the_same_data_folder_is_refused(system: System) -> None:
    second = switchgear("up", "app", "--port=0", "--data=data", cwd=system.folder)
    assert second.returncode == 2
    assert second.stderr.startswith(
        f"switchgear: switchgear is already running as pid {system.process.pid} on the data folder"
    )
    assert system.get("/pid")


def test_a_taken_port_is_one_clear_sentence(system: System) -> None:
    port = system.url.rpartition(":")[2]
    second = switchgear("up", "app", f"--port={port}", "--data=other", cwd=system.folder)
    assert second.returncode == 2
    assert second.stderr == (
        f"switchgear: cannot listen on 127.0.0.1:{port} (listen.port): another program has it; "
        "choose another port or end that program\n"
    )
    assert not (system.folder / "other" / "run.json").exists()


def test_where_memory_is_out_a_role_is_taken_and_not_the_supervisor(system: System) -> None:
    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    ours = score(system.process.pid)
    assert {score(row["pid"]) for row in system.rows()} == {min(1000, ours + 500)}


def test_processes_may_hold_many_descriptors(system: System) -> None:
    limits = Path(f"/proc/{system.pid('gateway-1')}/limits").read_text()
    soft, hard = next(line for line in limits.splitlines() if "open files" in line).split()[3:5]
    assert int(soft) == min(int(hard), 65_536)
