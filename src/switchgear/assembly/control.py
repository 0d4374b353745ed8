"""Control sockets: each process answers questions about itself, to its own account only.

One question per frame, {"verb", "body"}; one answer per question, {"ok"} or {"error"}. The
socket stands in the boot's private folder, mode 0600.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from switchgear.assembly.line import FRAME_BYTES, frame
from switchgear.assembly.roles import Answer
from switchgear.telemetry.logs import trace_of

__all__ = ["ControlError", "ControlServer", "ask"]

_IDLE: Final = 30.0


class Question(msgspec.Struct, frozen=True):
    """What is asked."""

    verb: str
    body: msgspec.Raw = msgspec.Raw(b"null")


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is answered; `error` is empty when all went well."""

    ok: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""


class ControlError(Exception):
    """A question found no answer: nobody listens, it took too long, or it was refused."""


class ControlServer:
    """Answer questions on a Unix socket. `answers` may grow while it runs."""

    def __init__(self, path: Path, answers: Mapping[str, Answer]) -> None:
        self._path = path
        self._answers = answers
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket that a dead process left at the path is replaced."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._talk, self._path)
        os.chmod(self._path, 0o600)

    async def stop(self) -> None:
        """Listen no more, and end the talks that are open."""
        if self._server is not None:
            self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs has a task
        self._talks.add(task)
        try:
            while True:
                async with asyncio.timeout(_IDLE):
                    payload = await _receive(reader)
                writer.write(frame(msgspec.json.encode(await self._reply(payload))))
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, TimeoutError, ValueError):
            pass  # the asker left, or is no asker of ours
        finally:
            self._talks.discard(task)
            writer.close()

    async def _reply(self, payload: bytes) -> Reply:
        try:
            question = msgspec.json.decode(payload, type=Question)
            answer = self._answers.get(question.verb)
            if answer is None:
                known = ", ".join(sorted(self._answers))
                return Reply(error=f"no verb {question.verb!r}; there are: {known}")
            found = await answer(msgspec.json.decode(question.body))
            return Reply(msgspec.Raw(msgspec.json.encode(found)))
        except Exception as error:  # noqa: BLE001 - the asker gets it, the server goes on
            return Reply(error=trace_of(error))


async def ask(path: Path, verb: str, body: Any = None, *, timeout: float = 2.0) -> Any:
    """Ask the process behind a control socket.

    Raises:
        ControlError: there is no answer, or it is an error.
    """
    question = Question(verb, msgspec.Raw(msgspec.json.encode(body)))
    writer = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(frame(msgspec.json.encode(question)))
            reply = msgspec.json.decode(await _receive(reader), type=Reply)
    except TimeoutError:
        raise ControlError(f"{path} did not answer {verb!r} within {timeout:g} s") from None
    except (OSError, asyncio.IncompleteReadError, ValueError, msgspec.MsgspecError) as error:
        raise ControlError(f"{path} gave no answer to {verb!r}: {error}") from error
    finally:
        if writer is not None:
            writer.close()
    if reply.error:
        raise ControlError(reply.error)
    return msgspec.json.decode(reply.ok)


async def _receive(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes, where {FRAME_BYTES} are the most")
    return await reader.readexactly(length)
