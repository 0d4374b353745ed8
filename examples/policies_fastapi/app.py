"""A FastAPI application whose endpoints ask one flaky store, through one policy: uvicorn app:app

The store knows the price of a lamp, and none of a unicorn. It resets the connection of whoever
asks for something cursed, and never answers about a sloth.
"""

import asyncio
import math
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from switchgear import Code, Fault, LogObserver, Policy, http_status


def cut_off(error: Exception) -> Fault | None:
    """Make a fault of a lost connection, so that the handler below knows what to say."""
    lost = isinstance(error, OSError | EOFError)
    return Fault(Code.UNAVAILABLE, f"the store: {error!r}") if lost else None


store = Policy("store", timeout="300ms", repeatable=True, translate=cut_off, observe=LogObserver())


async def serve(reader: StreamReader, writer: StreamWriter) -> None:
    """Stand for the store, which would be elsewhere."""
    item = (await reader.readline()).decode().split()[-1]
    if item == "sloth":
        await reader.read()  # until the caller gives up
    elif item != "cursed":
        writer.write(b"none\n" if item == "unicorn" else b"7\n")
    writer.close()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        app.state.port = server.sockets[0].getsockname()[1]
        yield


app = FastAPI(title="Shop", lifespan=lifespan)


@app.exception_handler(Fault)
async def say(request: Request, fault: Fault) -> JSONResponse:
    """Answer with the public sentence; the detail is for operators."""
    if "switchgear" in request.scope.get("extensions", {}):
        raise fault  # behind our gateway: it would try a 503 of ours again, and a fault never
    told = {"code": fault.code.value, "detail": fault.public}
    wait = {"retry-after": str(math.ceil(fault.retry_after))} if fault.retry_after else None
    return JSONResponse(told, http_status(fault), wait)


@store
async def ask(question: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", app.state.port)
    try:
        writer.write(f"{question}\n".encode())
        answer = (await reader.readuntil()).strip()
    finally:
        writer.close()
    if answer == b"none":
        raise Fault(Code.NOT_FOUND, f"the store: nothing for {question!r}")
    return int(answer)


@app.get("/prices/{item}")
async def price(item: str) -> dict[str, int]:
    return {"price": await ask(f"price {item}")}


@app.get("/stock/{item}")
async def stock(item: str) -> dict[str, int]:
    return {"stock": await ask(f"stock {item}")}
