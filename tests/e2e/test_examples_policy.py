"""The examples of policies alone: they run as a reader runs them, and need only what they say."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import switchgear
from switchgear import Call, Code, Fault, Request
from switchgear.core.clock import FINE
from switchgear.http.asgi import AsgiHost
from tests.e2e.running import ROOT, environment
from tests.packaging.test_bare_install import bare, wheel  # noqa: F401 - fixtures
from tools.ports import free_port

EXAMPLES = {
    "policies_asyncio": set[str](),
    "policies_fastapi": {"fastapi"},
}
SHORT = 80  # lines
PATIENCE = 60.0


def app(example: str) -> Path:
    return ROOT / "examples" / example / "app.py"


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_short_and_needs_only_public_names(example: str) -> None:
    text = app(example).read_text()
    assert len(text.splitlines()) < SHORT
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            rooms = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            rooms = [str(node.module)]
        else:
            continue
        for room in rooms:
            top = room.partition(".")[0]
            assert room == "switchgear" or top in {*EXAMPLES[example], *sys.stdlib_module_names}
            if room == "switchgear":
                assert isinstance(node, ast.ImportFrom)
                assert {alias.name for alias in node.names} <= set(switchgear._HOMES)


def ended(python: str, *flags: str, folder: Path, env: dict[str, str]) -> str:
    """Run the plain example to its end, and return what it printed."""
    command = [python, *flags, str(app("policies_asyncio"))]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert "store: the breaker went from closed to open" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def test_the_plain_example_runs_and_ends_by_itself(tmp_path: Path) -> None:
    flags = ("-X", "dev", "-W", "error")
    said = ended(sys.executable, *flags, folder=tmp_path, env=environment())
    assert said.startswith("100 calls, ")
    for word in ("'fresh'", "'old'", "'not_found'", "breaker: "):
        assert word in said


@pytest.mark.pure
def test_the_plain_example_runs_where_nothing_but_switchgear_is_installed(
    bare: Path,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    said = ended(str(bare / "bin" / "python"), "-I", folder=tmp_path, env=env)
    assert "'fresh'" in said


class Answer(NamedTuple):
    status: int
    body: Any
    retry_after: str | None


class Shop:
    """The FastAPI example as a process, and a client of it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / "log"
        command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(self.port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=app("policies_fastapi").parent,
                env=environment(PYTHONDONTWRITEBYTECODE="1"),
                stdout=log,
                stderr=log,
            )

    def get(self, path: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = json.loads(response.read())
            return Answer(response.status, body, response.headers["retry-after"])
        finally:
            connection.close()

    def wait(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.get("/openapi.json")
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < until, self.log.read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    running = Shop(tmp_path)
    try:
        running.wait()
        yield running
    finally:
        running.stop()


def test_the_fastapi_example_says_to_clients_what_they_may_know(shop: Shop) -> None:
    assert shop.get("/prices/lamp") == Answer(200, {"price": 7}, None)
    assert shop.get("/stock/lamp") == Answer(200, {"stock": 7}, None)
    nothing = {"code": "not_found", "detail": "There is nothing here."}
    for _ in range(10):  # a no is an answer: the breaker stays closed
        assert shop.get("/prices/unicorn") == Answer(404, nothing, None)
    assert shop.get("/prices/sloth").status == 504
    assert shop.get("/prices/lamp").status == 200


def test_the_fastapi_example_asks_a_store_no_more_that_is_down(shop: Shop) -> None:
    down = {"code": "unavailable", "detail": "The service is unavailable; try again later."}
    assert shop.get("/prices/cursed") == Answer(503, down, None)
    for _ in range(4):
        refused = shop.get("/prices/cursed")
    assert (refused.status, refused.body) == (503, down)
    assert int(refused.retry_after or 0) in range(1, 8)
    lamp = shop.get("/stock/lamp")  # through the same policy, so it knows
    assert (lamp.status, lamp.body) == (503, down)
    assert "breaker went from closed to open" in shop.log.read_text()


async def test_behind_a_gateway_of_ours_a_fault_of_the_fastapi_example_stays_one() -> None:
    """A 503 of its own making would be tried again there: its policy has done so already."""
    spec = importlib.util.spec_from_file_location("shop", app("policies_fastapi"))
    assert spec is not None
    assert spec.loader is not None
    shop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shop)
    host = AsgiHost(shop.app)
    await host.start()
    try:
        lamp = await host(Call(Request.of("GET", "/prices/lamp"), FINE() + 3.0))
        assert (lamp.status, lamp.body) == (200, b'{"price":7}')
        with pytest.raises(Fault) as caught:
            await host(Call(Request.of("GET", "/prices/cursed"), FINE() + 3.0))
        assert (caught.value.code, caught.value.hops) == (Code.UNAVAILABLE, ("store",))
    finally:
        await host.stop()
