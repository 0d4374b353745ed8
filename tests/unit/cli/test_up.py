"""What keeps `switchgear up` from starting is one sentence."""

from pathlib import Path

import pytest

from switchgear.assembly.failures import StartError
from switchgear.assembly.settings import Settings
from switchgear.cli.up import _front


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "supervisor.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(StartError, match=r"cannot write the log to .*supervisor\.jsonl: "):
        _front(Settings(), tmp_path, screen=True)
    assert not (tmp_path / "other").exists()
