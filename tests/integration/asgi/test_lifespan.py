"""Lifespans: of apps that have one, that have none, and that fail in it."""

import asyncio
import logging
from typing import Any

import pytest

from switchgear.http.asgi import AsgiHost

pytestmark = pytest.mark.usefixtures("loop_factory")

UP = {"type": "lifespan.startup.complete"}
DOWN = {"type": "lifespan.shutdown.complete"}


def living(*steps: Any) -> Any:
    """Make an app whose lifespan does these: receive, send, raise or wait."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in steps:
            if step is None:
                await receive()
            elif isinstance(step, BaseException):
                raise step
            elif isinstance(step, dict):
                await send(step)
            else:
                await asyncio.sleep(step)

    return app


async def life(app: Any, timeout: float = 5.0) -> None:
    host = AsgiHost(app)
    await host.start()
    await host.stop(timeout)


WELL = {
    "a whole one": living(None, UP, None, DOWN),
    "none": living(NotImplementedError()),
    "it looks and has none": living(None, NotImplementedError()),
    "it returns": living(),
    "it returns amid it": living(None, UP),
    "it says nothing at its end": living(None, UP, None),
}


@pytest.mark.parametrize("app", WELL.values(), ids=WELL)
async def test_it_is_served(loop_factory: Any, app: Any) -> None:
    await life(app)


FAILING = {
    "failed to start: no disk": living(
        None, {"type": "lifespan.startup.failed", "message": "no disk"}
    ),
    "failed to start: it gave no reason": living(None, {"type": "lifespan.startup.failed"}, 60),
    "failed to start: and so": living(
        None, {"type": "lifespan.startup.failed", "message": "and so"}, ZeroDivisionError()
    ),
    "failed to start: SystemExit: DATABASE_URL is not set": living(
        None, SystemExit("DATABASE_URL is not set")
    ),
    "failed to start: Traceback, and so on": living(
        None,
        {"type": "lifespan.startup.failed", "message": "Traceback, and so on"},
        SystemExit("as frameworks have it"),
    ),
    "failed to shut down: RuntimeError: it raised what is no ordinary error: SystemExit: 2": living(
        None, UP, None, SystemExit(2)
    ),
    "failed to shut down: stuck": living(
        None, UP, None, {"type": "lifespan.shutdown.failed", "message": "stuck"}
    ),
    "failed to shut down: ZeroDivisionError: at the end": living(
        None, UP, None, ZeroDivisionError("at the end")
    ),
    "failed to shut down: ZeroDivisionError: amid it": living(
        None, UP, ZeroDivisionError("amid it")
    ),
    "failed to shut down: broke": living(
        None, UP, {"type": "lifespan.shutdown.failed", "message": "broke"}, ZeroDivisionError()
    ),
    "failed to shut down: it took longer than 0.3 s": living(None, UP, None, 60),
}


@pytest.mark.parametrize("said", FAILING)
async def test_its_failure_is_told(
    loop_factory: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchgear.http.lifespan.LEAVING", 0.05)
    with pytest.raises(RuntimeError) as failed:
        await life(FAILING[said], 0.3)
    assert str(failed.value) == f"the app {said}"


@pytest.mark.parametrize(
    "app",
    [living(None, DOWN), living(None, UP, UP), living(None, {"type": "http.request"})],
)
async def test_a_message_out_of_turn_raises_in_the_app(loop_factory: Any, app: Any) -> None:
    caught: list[BaseException] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except RuntimeError as error:
            caught.append(error)

    host = AsgiHost(noting)
    await host.start()
    await asyncio.sleep(0)
    await host.stop()
    assert len(caught) == 1


async def test_what_it_raises_while_it_starts_is_told_and_it_is_served(
    loop_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "switchgear.http"):
        await life(living(ZeroDivisionError()))
        await life(living(None, ZeroDivisionError()))
        await life(living(None, asyncio.CancelledError()))  # of something that it awaited
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR", "ERROR"]


async def test_a_start_that_is_called_off_leaves_nothing(loop_factory: Any) -> None:
    ended: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    starting = asyncio.create_task(AsgiHost(app).start())
    await asyncio.sleep(0.02)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert ended == [True]
