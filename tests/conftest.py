"""How tests run here: async tests without a plugin, nothing left behind, no hidden skips.

An `async def` test runs on a fresh asyncio loop; marked `virtual`, on the virtual-time loop; with
the fixture `loop_factory`, once on asyncio and once on uvloop. A task that is still there when the
test has ended fails it.
"""

import asyncio
import inspect
import os
import signal
from collections.abc import Callable, Generator
from typing import Any

import pytest
import uvloop

from switchgear.testing.virtual import VirtualLoop
from tools.source import compiled

Loops = Callable[[], asyncio.AbstractEventLoop]

# A shell has what it runs in the background ignore Ctrl-C, and with it all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_LOOPS: dict[str, Loops] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=list(_LOOPS))
def loop_factory(request: pytest.FixtureRequest) -> Loops:
    """Run the test once on each event loop that Switchgear runs on."""
    return _LOOPS[str(request.param)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On the compiled build, leave out what reaches into the other one.

    Whoever means to test that one is not to be shown the other (`./dev test --compiled` says so).
    """
    if os.environ.get("TESTED_BUILD") == "compiled" and not compiled():
        pytest.exit("the compiled build was to be tested, and it is not what is imported", 1)
    if compiled():
        pure = [item for item in items if item.get_closest_marker("pure")]
        config.hook.pytest_deselected(items=pure)
        items[:] = [item for item in items if not item.get_closest_marker("pure")]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    factory: Any = pyfuncitem.funcargs.get("loop_factory", asyncio.new_event_loop)
    if pyfuncitem.get_closest_marker("virtual"):
        factory = VirtualLoop
    limit = pyfuncitem.get_closest_marker("timeout")
    seconds = limit.args[0] if limit else 60.0
    wanted = inspect.signature(test).parameters
    arguments = {name: value for name, value in pyfuncitem.funcargs.items() if name in wanted}
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_alone(test, arguments, None if factory is VirtualLoop else seconds))
    return True


async def _alone(test: Callable[..., Any], arguments: dict[str, Any], limit: float | None) -> None:
    """Run a test, and fail it when it leaves a task behind."""
    async with asyncio.timeout(limit):
        await test(**arguments)
    for _ in range(5):  # a task that was told to end may take a few turns to do so
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        pytest.fail("tasks left behind:\n" + "\n".join(f"  {task!r}" for task in left))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    report = yield
    _no_hiding(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, Any]:
    report = yield
    _no_hiding(report)
    return report


def _no_hiding(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Under CI a skip is a failure: a server that is missing there would hide what it proves.

    Only what another kind of machine alone can run may say so: `platform: needs root`.
    """
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith("platform:"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI, where nothing may be missing: {reason}"
