"""What the soak runs on: notes that are written, told of and seen, and troubles to be asked for.

Nothing in the tables is unique: an effect that took place twice shows as two rows.
"""

import asyncio
import contextlib
import hashlib
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from switchgear import App, Code, Fault, Request, Transaction
from switchgear.http.message import StreamResponse

app = App("soak")

PIECE = 4096
FLAKY = 0.03  # of the attempts at a message, how many fail


class Note(Struct):
    id: str
    actor: str
    number: int
    doomed: bool = False


class Written(Struct):
    id: str


class Page(Struct):
    ids: list[str]


class Pong(Struct):
    pid: int
    nonce: str = ""


class Digest(Struct):
    sha256: str


@app.get("/ping", public=True)
async def ping(nonce: str = "") -> Pong:
    """Answer without the database."""
    return Pong(os.getpid(), nonce)


@app.get("/slow", public=True)
async def slow(tx: Transaction) -> Pong:
    """Have the database take its time."""
    await tx.execute("select pg_sleep(0.3)")
    return Pong(os.getpid())


@app.post("/notes", deadline="2s")
async def write(note: Note, tx: Transaction) -> Written:
    """Write a note and tell of it in one transaction, which a doomed one rolls back."""
    await tx.execute("insert into note (id) values ($1)", note.id)
    await tx.publish("note.written", note, key=note.actor)
    if note.doomed:
        raise Fault(Code.FAILED_PRECONDITION, public="This note is doomed.")
    return Written(note.id)


@app.get("/notes", public=True)
async def listed(tx: Transaction) -> Page:
    """List a few notes."""
    return Page(await tx.fetch_all(str, "select id from note order by id limit 5"))


@app.consumer("note.written", lanes=8)
async def see(note: Note, tx: Transaction) -> None:
    """See a note, in the order in which its actor wrote it."""
    await tx.execute(
        "insert into seen (id, actor, number) values ($1, $2, $3)",
        note.id,
        note.actor,
        note.number,
    )
    if random.random() < FLAKY:
        raise Fault(Code.UNAVAILABLE, "the soak has a message fail")


@app.get("/stream", public=True)
async def stream(pieces: Annotated[int, Meta(ge=1, le=200)] = 40) -> StreamResponse:
    """Answer piece by piece for some seconds; the last line is the digest of all before it."""

    async def body() -> AsyncIterator[bytes]:
        sum_ = hashlib.sha256()
        for _ in range(pieces):
            piece = os.urandom(PIECE // 2).hex().encode()
            sum_.update(piece)
            yield piece
            await asyncio.sleep(0.05)
        yield b"\n" + sum_.hexdigest().encode()

    return StreamResponse.of(body(), headers={"content-type": "text/plain"})


@app.put("/upload", public=True)
async def upload(request: Request) -> Digest:
    """Take a body, and say what it was."""
    return Digest(hashlib.sha256(await request.body.read(1 << 20)).hexdigest())


@app.post("/trouble/{kind}", public=True)
async def trouble(
    kind: Literal["hang", "block", "allocate", "raise", "exit", "abort", "descriptors"],
    seconds: Annotated[float, Meta(ge=0, le=60)] = 1.0,
) -> Pong:
    """Be as bad a handler as there is."""
    match kind:
        case "hang":
            await asyncio.sleep(3600)
        case "block":
            time.sleep(seconds)  # this is the trouble
        case "allocate":
            much = bytearray(os.urandom(1 << 20)) * 200
            await asyncio.sleep(min(seconds, 2))
            del much
        case "raise":
            raise RuntimeError("trouble was asked for")
        case "exit":
            os._exit(3)
        case "abort":
            raise SystemExit(4)
        case "descriptors":
            await _use_up(seconds)
    return Pong(os.getpid())


async def _use_up(seconds: float) -> None:
    """Take every descriptor that the process may have, for a while."""
    held: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        await asyncio.sleep(min(seconds, 2.5))
    finally:
        for one in held:
            os.close(one)


Message = MutableMapping[str, Any]


async def echo(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Say again what a WebSocket says."""
    if scope["type"] != "websocket":
        return
    while True:
        message = await receive()
        match message["type"]:
            case "websocket.connect":
                await send({"type": "websocket.accept"})
            case "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
            case _:
                return


app.mount("/echo", echo)
