"""The names of `switchgear.testing`: lazy, complete, and told to type checkers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from switchgear import testing

SRC = Path(testing.__file__).resolve().parents[2]


def test_every_name_resolves() -> None:
    for name, home in testing._HOMES.items():
        value = getattr(testing, name)
        assert value is getattr(sys.modules[home], name)
        assert name in dir(testing)


def test_type_checkers_are_told_the_same_names() -> None:
    tree = ast.parse(Path(testing.__file__).read_text())
    (told,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = {
        alias.name: node.module
        for node in told.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imports == testing._HOMES


def test_every_public_name_of_its_modules_is_one_of_its_own() -> None:
    homes = set(testing._HOMES.values())
    public = {name for home in homes for name in sys.modules[home].__all__}
    assert public == set(testing._HOMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        testing.nonsense  # noqa: B018 - the look-up itself is what is tested


def test_the_names_need_no_test_framework_and_nothing_of_a_server() -> None:
    names = ", ".join(testing._HOMES)
    program = f"import sys; sys.path.insert(0, {str(SRC)!r}); import switchgear.testing"
    program += "; print(*sys.modules); print()"
    program += f"; from switchgear.testing import {names}; print(*sys.modules)"
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, _, after = done.stdout.splitlines()
    assert not [name for name in before.split() if name.startswith("switchgear.testing.")]
    loaded = {name.partition(".")[0] for name in after.split()}
    assert not loaded & {"pytest", "uvloop", "httptools", "asyncpg", "prometheus_client"}
    rooms = {name.split(".")[1] for name in after.split() if name.startswith("switchgear.")}
    assert rooms == {"core", "policy", "testing"}
