"""What `pip install switchgear` brings: policies and msgspec, small, nothing of the network."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import switchgear

ROOT = Path(__file__).resolve().parents[2]
SMALL = 3_000_000  # bytes that are brought; the bytecode that Python makes of them is as much again
HEAVY = (
    "aio_pika",
    "argon2",
    "asyncpg",
    "confluent_kafka",
    "httptools",
    "joserfc",
    "redis",
    "typer",
    "uvloop",
    "switchgear.assembly",
    "switchgear.cli",
    "switchgear.engines",
    "switchgear.gateway",
    "switchgear.http",
)
# What lives on the two lowest floors needs no extra: a name added there is held to it at once.
FLOORS = ("switchgear.policy.", "switchgear.core.")
LIGHT = [name for name, home in switchgear._HOMES.items() if home.startswith(FLOORS)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as an installer would, with the backend that pyproject names."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tree / name)
    shutil.copytree(
        ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own, with msgspec beside it and nothing else.

    msgspec is copied from the running environment: the registry has no say in this test.
    """
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=True, symlinks=True)
    pip = [
        str(home / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True, capture_output=True)
    (site,) = home.glob("lib/python3*/site-packages")
    for file in importlib.metadata.distribution("msgspec").files or ():
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(file.locate()), target)
    return home


def metadata(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(name).decode().splitlines()


def test_msgspec_is_the_only_requirement(wheel: Path) -> None:
    needs = [line.removeprefix("Requires-Dist: ") for line in metadata(wheel) if "-Dist" in line]
    base = [need for need in needs if "extra ==" not in need]
    assert [re.split(r"\W", need)[0] for need in base] == ["msgspec"]


def test_the_extras_are_those_of_the_design(wheel: Path) -> None:
    extras = {line.split()[1] for line in metadata(wheel) if line.startswith("Provides-Extra")}
    assert extras == {
        "all",
        "embedded",
        "kafka",
        "otel",
        "rabbitmq",
        "redis",
        "sentry",
        "server",
    }


def test_the_bare_install_is_small(bare: Path) -> None:
    (site,) = bare.glob("lib/python3*/site-packages")
    ours = [folder for name in ("switchgear*", "msgspec*") for folder in site.glob(name)]
    assert {folder.name.partition("-")[0] for folder in ours} == {"switchgear", "msgspec"}
    files = [file for folder in ours for file in folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files if file.suffix != ".pyc")
    assert 100_000 < size < SMALL


def test_the_bare_install_brings_the_command_and_its_types(bare: Path) -> None:
    (site,) = bare.glob("lib/python3*/site-packages")
    assert (bare / "bin" / "switchgear").is_file()
    assert (site / "switchgear" / "py.typed").is_file()


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_name_needs_nothing_but_msgspec(bare: Path, name: str) -> None:
    command = [str(bare / "bin" / "python"), "-I", "-c", f"from switchgear import {name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


NEEDING = (
    "ModuleNotFoundError: switchgear.Response needs httptools: pip install 'switchgear[server]'"
)


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("-c", "from switchgear import Response"), NEEDING, 1),
        (("-m", "switchgear"), "switchgear: this needs pip install 'switchgear[server]'", 2),
    ],
)
def test_what_needs_more_says_what(
    bare: Path, words: tuple[str, ...], said: str, code: int
) -> None:
    command = [str(bare / "bin" / "python"), "-I", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.splitlines()[-1] == said


def loaded_by(statement: str) -> list[str]:
    """Return what a fresh interpreter has loaded; here all the heavy packages are installed."""
    program = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); {statement}"
    command = [sys.executable, "-I", "-c", f"{program}; print(*sys.modules)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_name_loads_no_network_and_no_database(name: str) -> None:
    loaded = loaded_by(f"from switchgear import {name}")
    assert "switchgear" in loaded
    assert not [module for module in loaded if module.startswith(HEAVY)]


def test_importing_the_package_alone_loads_none_of_it() -> None:
    loaded = loaded_by("import switchgear")
    assert not [module for module in loaded if module.startswith("switchgear.")]


def test_every_public_name_resolves() -> None:
    for name, home in switchgear._HOMES.items():
        value = getattr(switchgear, name)
        assert value is getattr(sys.modules[home], name)
        assert name in dir(switchgear)


def test_type_checkers_are_told_the_same_names() -> None:
    tree = ast.parse(Path(switchgear.__file__).read_text())
    (told,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = {
        alias.name: node.module
        for node in told.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imports == switchgear._HOMES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        switchgear.nonsense  # noqa: B018 - the look-up itself is what is tested
