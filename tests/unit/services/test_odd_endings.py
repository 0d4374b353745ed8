"""Handlers that end in ways that no handler should: each is one defect, and nobody else's."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from switchgear.http.message import Request, Response
from switchgear.policy.call import Call, Principal
from switchgear.services.endpoint import Endpoint, Mount
from switchgear.services.host import Host
from switchgear.testing.virtual import clock

pytestmark = pytest.mark.virtual


def asked(path: str) -> Call[Request]:
    return Call(Request.of("GET", path), clock() + 10.0, principal=Principal("ada", ""))


def host(end: Callable[[], Any]) -> Host:
    async def handler() -> None:
        await end()

    async def mounted(_: Call[Request]) -> Response:
        await end()
        raise AssertionError("it was to end oddly")

    return Host(
        "service",
        [Endpoint("GET", "/typed", handler)],
        [Mount("/mounted", handler)],
        tables=None,
        providers={},
        mounted=lambda application, prefix: mounted,
        clock=clock,
    )


async def cancelled_by_itself() -> None:
    other = asyncio.ensure_future(asyncio.sleep(10))
    other.cancel()
    await other


async def exiting() -> None:
    raise SystemExit(2)


async def leaving() -> None:
    raise GeneratorExit


@pytest.mark.parametrize("path", ["/typed", "/mounted"])
@pytest.mark.parametrize("end", [cancelled_by_itself, exiting, leaving])
async def test_it_is_a_defect_of_this_call(end: Callable[[], Any], path: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        await host(end)(asked(path))
    assert isinstance(raised.value.__cause__, BaseException)


@pytest.mark.parametrize("path", ["/typed", "/mounted"])
async def test_who_is_called_off_is_no_defect(path: str) -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.sleep(10)

    task = asyncio.ensure_future(host(wait)(asked(path)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
