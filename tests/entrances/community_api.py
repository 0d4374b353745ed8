"""A FastAPI application, mounted: its task groups, timeouts and ContextVars are its own affair."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio
from fastapi import Depends, FastAPI, Request
from fastapi.responses import StreamingResponse

from switchgear.core.frames import Timeout
from switchgear.core.stack import OUTBOUND, Part, Place, stack
from switchgear.http.asgi import AsgiHost
from switchgear.http.problem import judging
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings
from switchgear.policy.gate import Gate

reader: ContextVar[str] = ContextVar("reader", default="nobody")


async def identify(request: Request) -> None:
    request.state.before = reader.get()
    reader.set(request.headers.get("reader", "a guest"))  # as so often, nobody resets it


app = FastAPI(dependencies=[Depends(identify)])


@app.get("/shelves")
async def shelves(request: Request, pause: float = 0.0) -> list[str]:
    async def look(shelf: str) -> str:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, pause)
        return f"{shelf} of {reader.get()}"

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        looking = [group.create_task(look(shelf)) for shelf in ("poems", "prose")]
    return [request.state.before, *(task.result() for task in looking)]


@app.get("/feed")
async def feed(request: Request, lines: int, pause: float = 0.0) -> StreamingResponse:
    async def tell() -> AsyncGenerator[str, None]:
        for number in range(lines):
            yield f"{number} for {reader.get()} after {request.state.before}\n"
            await asyncio.sleep(pause)

    return StreamingResponse(tell())


@asynccontextmanager
async def community(breaker: Gate, deadline: float = 3.0) -> AsyncIterator[Server]:
    parts = [Part(Place.BREAKER, breaker), Part(Place.TIMEOUT, Timeout(deadline, deadline, 1.0))]
    host = AsgiHost(app)
    await host.start()
    handler = stack("community", OUTBOUND, parts, host, judge=judging(trusted=False)).run
    yield Server(handler, ServerSettings(deadline=deadline), drive=Drive.EAGER)
    await host.stop()
