"""The command line as it is read: what help and version say."""

from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from switchgear.cli.main import command


def said(*words: str) -> str:
    """Run a command to its good end, and return what it printed, without frames and breaks."""
    done = CliRunner().invoke(command(), words, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exit_code == 0, done.output
    return " ".join(done.output.replace("│", " ").split())


def test_it_tells_its_version() -> None:
    assert said("--version") == f"switchgear {version('switchgear')}"
    assert "--version" in said("--help")


@pytest.mark.parametrize("name", ["up", "run", "dev"])
def test_an_app_may_be_a_file_and_no_value_is_called_a_str(name: str) -> None:
    told = said(name, "--help")
    assert "A folder with an app.py, module:attribute, or a file." in told
    for option in ("--host HOST", "--port PORT", "--data FOLDER", "--config FILE"):
        assert option in told
    assert "else switchgear.toml beside the app" in told


def test_counts_are_called_counts() -> None:
    told = said("up", "--help")
    for role in ("gateways", "services", "workers"):
        assert f"--{role} COUNT" in told


def test_the_roles_are_told_by_their_names() -> None:
    assert "gateway, service, worker or accounts" in said("run", "--help")
