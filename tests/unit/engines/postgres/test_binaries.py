"""The server's programs: which version they are, whoever has packed them."""

from pathlib import Path

import pytest

from switchgear.engines.postgres.binaries import Binaries
from switchgear.policy.fault import Fault


def saying(folder: Path, words: str) -> Binaries:
    """Make a `postgres` that tells its version in these words."""
    program = folder / "postgres"
    program.write_text(f"#!/bin/sh\necho '{words}'\n")
    program.chmod(0o755)
    return Binaries(folder)


@pytest.mark.parametrize(
    ("words", "major"),
    [
        ("postgres (PostgreSQL) 18.4", 18),
        ("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)", 15),
        ("postgres (PostgreSQL) 16.4 (Ubuntu 16.4-0ubuntu0.24.04.2)", 16),
        ("postgres (PostgreSQL) 19devel", 19),
    ],
)
def test_the_version_is_read_whatever_a_packager_adds(
    tmp_path: Path, words: str, major: int
) -> None:
    assert saying(tmp_path, words).version() == (major, words)


def test_a_program_that_tells_no_version_is_refused_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"tells no version of PostgreSQL, but 'hello \(world\)'"):
        saying(tmp_path, "hello (world)").version()


def test_a_program_that_does_not_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"does not run here: .*No such file"):
        Binaries(tmp_path).version()
