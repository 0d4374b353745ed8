"""What keeps `switchgear up` from starting is one sentence, and leaves nothing open."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from switchgear.assembly.failures import StartError
from switchgear.assembly.listen import bind
from switchgear.assembly.roles import Plan
from switchgear.assembly.runtime import claim
from switchgear.assembly.settings import Address, Listen, Settings
from switchgear.assembly.target import Target
from switchgear.cli.front import open_front
from switchgear.cli.up import Stand, _front, stand
from tools.ports import free_port


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "supervisor.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(StartError, match=r"cannot write the log to .*supervisor\.jsonl: "):
        _front(Settings(), tmp_path, screen=True)
    assert not (tmp_path / "other").exists()


class Refusing:
    """An auxiliary that cannot start."""

    name = "database"
    external = False

    async def start(self) -> None:
        raise StartError("the database is not ready")

    async def stop(self) -> None:
        """It never ran."""

    def trouble(self) -> str:
        return ""

    def alive(self) -> bool:
        return False

    def offers(self) -> dict[str, str]:
        return {}


async def test_a_start_that_failed_leaves_its_ports_free_whoever_holds_the_error(
    tmp_path: Path,
) -> None:
    """`dev` starts again in its own process: it found its ports taken, by itself."""
    ports = free_port(), free_port()
    public, admin = Listen("127.0.0.1", ports[0]), Address("127.0.0.1", ports[1])
    settings = Settings(listen=public, admin=admin, data=str(tmp_path / "data"))
    made: list[Any] = []  # holds on to what a traceback would

    def office(*given: Any) -> Any:
        made.append(given)
        raise OSError("no")

    with ExitStack() as held:
        runtime = claim(Path(settings.data))
        held.callback(runtime.release)
        front = open_front(settings.log, None, screen=False)
        held.callback(front.close)
        before = len(os.listdir("/proc/self/fd"))
        for plan in (Plan((), admin=office), Plan((), (Refusing(),))):
            with pytest.raises(StartError, match=r"cannot set up|is not ready") as caught:
                await stand(Stand(plan, settings, Target(str(tmp_path), "app"), front), runtime)
            made.append(caught.value)
            assert len(os.listdir("/proc/self/fd")) == before
        for port in ports:
            bind("127.0.0.1", port, 1).close()
