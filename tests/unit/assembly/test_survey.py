"""The survey: what an app is, found out where it can do no harm."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from switchgear.assembly.failures import StartError
from switchgear.assembly.messages import RunAs
from switchgear.assembly.survey import Survey, survey
from switchgear.assembly.target import Target
from switchgear.gateway.table import RouteEntry
from tests.support.postgres import reachable_folder
from tools.source import SOURCE

NATIVE = """
from switchgear import App, Transaction
app = App("toys")

@app.get("/a", public=True)
async def a(tx: Transaction) -> None: ...
"""
CONSUMING = (
    NATIVE
    + """
@app.consumer("a")
async def take(number: int, tx: Transaction) -> None: ...
"""
)
NOISY = (
    """
import atexit, os, sys, threading, time
print('{"wrong": "I am no answer"}', flush=True)
os.write(1, b'{"wrong": "I am no answer"}')
print("to nobody", file=sys.stderr)
atexit.register(print, "and at the end")
threading.Thread(target=time.sleep, args=(600,)).start()
"""
    + NATIVE
)


def app_at(folder: Path, source: str) -> Target:
    (folder / "toys.py").write_text(source)
    return Target(str(folder), "toys")


def test_what_an_app_is(tmp_path: Path) -> None:
    found = survey(app_at(tmp_path, NATIVE))
    assert replace(found, routes=()) == Survey(True, False, str(tmp_path))
    assert "GET /openapi.json" in [route.name for route in found.routes]
    assert survey(app_at(tmp_path, CONSUMING)).consumers
    foreign = survey(app_at(tmp_path, "async def app(scope, receive, send): ..."))
    route = RouteEntry("*", "/", "service", public=True, prefix=True, setting="http.deadline")
    assert foreign == Survey(routes=(route,))


def test_the_configured_deadline_is_that_of_routes_which_say_none(tmp_path: Path) -> None:
    own = NATIVE.replace("public=True", 'public=True, deadline="2s"')
    for source, found in ((NATIVE, 60.0), (own, 2.0)):
        routes = survey(app_at(tmp_path, source), deadline=60.0).routes
        assert [route.deadline for route in routes if route.path == "/a"] == [found]
    tight = NATIVE.replace("public=True", 'public=True, attempt_timeout="5s"')
    assert survey(app_at(tmp_path, tight), deadline=6.0).routes
    with pytest.raises(StartError, match="attempt_timeout=5 s must lie within the deadline of 3 s"):
        survey(app_at(tmp_path, tight))


def test_an_app_of_many_routes_is_told_whole(tmp_path: Path) -> None:
    many = 'for n in range(1500):\n    app.get(f"/things/{n}/of/many", public=True)(a)\n'
    found = survey(app_at(tmp_path, NATIVE + many))
    assert sum(route.path.startswith("/things/") for route in found.routes) == 1500


def test_an_app_is_found_out_where_no_temporary_file_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("platform: only Linux has files in memory")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "read-only"))
    assert survey(app_at(tmp_path, NATIVE)).native


def test_what_an_import_prints_starts_and_leaves_behind_is_its_own_affair(tmp_path: Path) -> None:
    found = survey(app_at(tmp_path, NOISY))
    assert replace(found, routes=()) == Survey(True, False, str(tmp_path))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("app = 7", "the app is a int: give an App"),
        ("", "has no 'app'"),
        ("import nosuchmodule", "No module named 'nosuchmodule'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise SystemExit", "cannot import the app 'toys:app': SystemExit"),
        ("class Odd(BaseException): ...\nraise Odd('x')", "'toys:app': Odd: x"),
        (NATIVE + "@app.get('/b')\nasync def b(x: object) -> None: ...", "cannot be bound: b ("),
        (NATIVE + "@app.get('/b/{x}')\nasync def b() -> None: ...", "{x}"),
        (NATIVE + "@app.get('/b')\nasync def b(a) -> None: ...", "no annotation"),
        (NATIVE + "@app.get('/b')\ndef b(): ...", "'b' must be `async def`"),
        (NATIVE + "@app.get('/a/{x}')\nasync def b(x: str) -> None: ...\n"
         "@app.get('/a/{y}')\nasync def c(y: str) -> None: ...", "declared twice"),
        (NATIVE + "from switchgear import IdempotencyKey\n@app.post('/b', public=True)\n"
         "async def b(key: IdempotencyKey) -> None: ...", 'Header("idempotency-key")'),
        (NATIVE + "@app.consumer('b')\nasync def b(x: int) -> None: ...", "at_least_once=True"),
        (NATIVE + "from switchgear import Principal\n@app.get('/b', public=True)\n"
         "async def b(who: Principal) -> None: ...", "it asks for a Principal"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_app_is_said_in_a_sentence(
    tmp_path: Path, source: str, words: str
) -> None:
    with pytest.raises(StartError) as refused:
        survey(app_at(tmp_path, source))
    assert words in refused.value.sentence
    assert "\n" not in refused.value.sentence


def test_an_import_that_does_not_end_is_told_what_it_mostly_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchgear.assembly.survey._PATIENCE", 0.5)
    with pytest.raises(StartError, match=r'put that under `if __name__ == "__main__":`$'):
        survey(app_at(tmp_path, "import time; time.sleep(3600)"))


@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("import os; os.write(2, b'last words'); os._exit(5)", "exit code 5"),
        ("import os; os.write(2, b'last words'); os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
    ],
)
def test_an_import_that_ends_its_process(tmp_path: Path, source: str, how: str) -> None:
    with pytest.raises(StartError, match=f"ended its process while importing: {how}") as refused:
        survey(app_at(tmp_path, source))
    assert refused.value.trace.startswith("last words")


def test_an_import_ends_with_whoever_asked_for_it(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("platform: only Linux ends a process with its parent")
    source = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)"
    target = app_at(tmp_path, source)
    asked = (
        "from switchgear.assembly.survey import *\n"
        f"from switchgear.assembly.target import Target\nsurvey({target!r})"
    )
    asker = subprocess.Popen(
        [sys.executable, "-c", asked],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    pid = tmp_path / "pid"
    _until(lambda: pid.exists() and pid.read_text() != "")
    asker.terminate()
    asker.wait()
    importing = Path("/proc", pid.read_text())
    _until(lambda: not importing.exists() or "(zombie)" in (importing / "status").read_text())


def _until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_no_module_of_the_working_folder_stands_before_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "msgspec.py").write_text("raise ImportError('hijacked')")
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))  # a relative one leads elsewhere from there
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "app"
    folder.mkdir()
    assert survey(app_at(folder, NATIVE)).native


@pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root can drop to another account")
def test_an_app_is_imported_as_the_account_that_runs_it() -> None:
    source = "import os\nraise RuntimeError(f'{os.getuid()} {os.getgid()} {os.getgroups()}')"
    with reachable_folder() as folder:
        folder.chmod(0o755)
        with pytest.raises(StartError, match=r"RuntimeError: 65534 65534 \[65534\]"):
            survey(app_at(folder, source), RunAs(65534, 65534, (65534,)))
