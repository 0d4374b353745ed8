"""Run the test suites of Starlette and FastAPI against our host, over sockets.

    python tests/integration/asgi/suites/run.py starlette [FOLDER] [pytest's arguments]

The suites are not in the wheels: the sdists of the very versions that are installed here are
fetched into FOLDER (a temporary one by default), with an environment of their own for what they
need. `live_client` takes the place of their TestClient. Exit 3 says that nothing could be fetched.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
UNREACHABLE = 3

NEEDS = {
    "starlette": ["starlette[full]", "opentelemetry-sdk", "trio"],
    "fastapi": [
        "fastapi[all]", "a2wsgi", "coverage", "dirty-equals", "flask", "inline-snapshot", "logfire",
        "mypy", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-instrumentation-fastapi",
        "opentelemetry-sdk", "orjson", "pwdlib[argon2]", "pyjwt", "pytest-xdist", "sentry-sdk",
        "sqlmodel", "strawberry-graphql", "trio", "ty", "ujson",
    ],
}  # fmt: skip
ALWAYS = ["httpx", "httpx2[zstd]", "httptools", "msgspec", "pytest<9.2", "pytest-codspeed",
          "pytest-timeout", "uvloop", "websockets"]  # fmt: skip


def prepare(suite: str, folder: Path) -> tuple[Path, Path]:
    """Fetch a suite and what it needs; return its folder and the interpreter that runs it."""
    pins = [f"{name}=={version(name)}" for name in ("starlette", "fastapi")]
    python = folder / "venv" / "bin" / "python"
    source = folder / f"{suite}-{version(suite)}"
    if not source.exists():
        fetch = ["download", "--no-binary", ":all:", "--no-deps", f"{suite}=={version(suite)}"]
        _pip(sys.executable, *fetch, "--dest", str(folder))
        with tarfile.open(source.with_name(f"{source.name}.tar.gz")) as archive:
            archive.extractall(folder, filter="data")
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)
    _pip(str(python), "install", *NEEDS[suite], *ALWAYS, *pins)
    return source, python


def _pip(python: str, *arguments: str) -> None:
    done = subprocess.run(
        [python, "-m", "pip", arguments[0], "--quiet", "--disable-pip-version-check",
         *arguments[1:]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        raise SystemExit(UNREACHABLE)


def main(suite: str, folder: Path, *arguments: str) -> int:
    source, python = prepare(suite, folder)
    paths = os.pathsep.join([str(ROOT / "src"), str(HERE)])
    return subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "live_client",
         "-o", "testpaths=tests", "-k", "not trio", "--timeout", "20", "-rf", "--tb=line",
         *arguments],
        cwd=source, env={**os.environ, "PYTHONPATH": paths}, check=False,
    ).returncode  # fmt: skip


if __name__ == "__main__":
    given = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="suites-")
    raise SystemExit(main(sys.argv[1], Path(given).resolve(), *sys.argv[3:]))
