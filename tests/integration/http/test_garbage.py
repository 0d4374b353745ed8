"""What failed leaves nothing that only the collector finds: failures come by the thousand."""

import asyncio
import gc

import pytest

from switchgear.http.message import Request, Response
from switchgear.http.server import Drive, Server
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.services.endpoint import Endpoint
from switchgear.services.host import Host
from tests.integration.http.harness import serving

MANY = 20


async def plain(call: Call[Request]) -> Response:
    match call.payload.path:
        case "/fault":
            raise Fault(Code.NOT_FOUND, "there is none")
        case "/defect":
            raise ValueError("a defect")
    return Response(200, body=b"ok")


async def fault() -> None:
    raise Fault(Code.NOT_FOUND, "there is none")


async def defect() -> None:
    raise ValueError("a defect")


async def late() -> None:
    await asyncio.sleep(60.0)


def service() -> Host:
    endpoints = [
        Endpoint("GET", "/fault", fault, public=True),
        Endpoint("GET", "/defect", defect, public=True),
        Endpoint("GET", "/late", late, public=True, deadline=0.002),
    ]
    return Host("service", endpoints, tables=None, providers={})


async def ask(at: Server, path: str, times: int) -> set[int]:
    """Ask again and again on one connection; return the statuses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    statuses = set()
    for _ in range(times):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        statuses.add(int(head.split(" ")[1]))
        length = next(line for line in head.split("\r\n") if line.startswith("content-length"))
        await reader.readexactly(int(length.partition(": ")[2]))
    writer.close()
    await writer.wait_closed()
    return statuses


CASES: list[tuple[Drive, Host | None, str, int]] = [
    (Drive.EAGER, None, "/", 200),
    (Drive.EAGER, None, "/fault", 404),
    (Drive.EAGER, None, "/defect", 500),
    (Drive.PARKED, None, "/fault", 404),
    (Drive.PARKED, None, "/defect", 500),
    (Drive.PARKED, service(), "/fault", 404),
    (Drive.PARKED, service(), "/defect", 500),
    (Drive.PARKED, service(), "/late", 504),
    (Drive.PARKED, service(), "/unknown", 404),
]


@pytest.mark.parametrize(("drive", "host", "path", "status"), CASES)
async def test_a_failure_is_no_garbage(
    drive: Drive, host: Host | None, path: str, status: int
) -> None:
    run = None if host is None else host.run
    async with serving(host or plain, drive=drive, run=run, on_defect=lambda *_: None) as server:
        await ask(server, path, 2)  # what is made once is made
        gc.collect()
        gc.disable()
        try:
            assert await ask(server, path, MANY) == {status}
            assert gc.collect() < MANY
        finally:
            gc.enable()
