"""The soak's clients: each does one thing again and again, and writes down what it was told."""

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec
import websockets
from websockets.asyncio.client import connect

from switchgear.drills.account import Entry, Kind
from switchgear.drills.address import Address, dial
from switchgear.drills.wire import Failed, Failure, Request, Wire
from tests.drills.system import PASSWORD

__all__ = ["Actors", "Deed"]

PATIENCE: Final = 8.0  # seconds until a client gives up; who lives has answered long before
SESSION: Final = 5.0  # seconds that one WebSocket is used for
GRACE: Final = 8.0  # seconds in which a refresh whose answer was lost is asked for again
HASTY: Final = 0.2  # of the keyed requests, how many clients lose the answer to and ask again
JSON: Final = ("Content-Type", "application/json")
LENGTH: Final = ("Content-Length", "200000")
UNSENT: Final = frozenset({Failure.REFUSED.value, Failure.UNREACHABLE.value})

# An answer that is somebody else's.
MIXED: Final = "another's"


class Deed(msgspec.Struct, frozen=True):
    """One request of one kind, when it began and ended; `wrong` is empty where it went well."""

    kind: str
    began: float
    ended: float
    wrong: str = ""

    @property
    def mixed(self) -> bool:
        """Whether it was answered by what is somebody else's."""
        return self.wrong == MIXED


class Answer(NamedTuple):
    """A whole answer, or `lost`: how there came to be none."""

    status: int = 0
    body: bytes = b""
    lost: str = ""


Right = Callable[[Answer], str]
"""Says what is wrong with a whole answer; nothing where nothing is."""


class Actors:
    """Clients of one address: `entries` for the account, `deeds`, and who is `doomed` to fail.

    `name` tells them from those of another address.
    """

    def __init__(self, address: Address, chance: random.Random, name: str = "soak") -> None:
        self.entries: list[Entry] = []
        self.deeds: list[Deed] = []
        self.doomed: set[str] = set()
        self._address = address
        self._chance = chance
        self._name = name
        self._token = self._refresh = ""
        self._leaving = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Sign up, sign in, and begin."""
        wire = Wire(self._address)
        answer = await self._ask(wire, "sign-up", self._credentials("/accounts"), _is(202))
        assert answer.status == 202, answer
        answer = await self._ask(wire, "sign-in", self._credentials("/tokens"), _is(201))
        assert answer.status == 201, answer
        self._hold(answer)
        wire.abort()
        acts: tuple[tuple[int, Callable[[str, Wire], Awaitable[None]]], ...] = (
            (3, self._ping), (2, self._list), (4, self._keyed), (2, self._plain), (1, self._doom),
            (2, self._stream), (1, self._upload), (2, self._socket), (1, self._session),
            (3, self._leave),
        )  # fmt: skip
        for count, act in acts:
            for number in range(count):
                self._tasks.append(asyncio.create_task(self._live(act, number)))

    async def stop(self) -> None:
        """Have every client finish what it is at, and leave."""
        self._leaving.set()
        await asyncio.gather(*self._tasks)

    async def _live(self, act: Callable[[str, Wire], Awaitable[None]], number: int) -> None:
        wire = Wire(self._address)
        await act(f"{self._name}-{act.__name__.strip('_')}-{number}", wire)
        wire.abort()

    async def _pause(self, seconds: float) -> bool:
        """Wait about so long; say whether there is more to do."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds * (0.5 + self._chance.random())):
                await self._leaving.wait()
        return not self._leaving.is_set()

    async def _ask(self, wire: Wire, kind: str, request: Request, right: Right) -> Answer:
        """Ask once, write down how it went, and return the answer."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                await wire.open()
                reply = await wire.exchange(request)
            answer = Answer(reply.status, reply.body)
        except Failed as failed:
            answer = Answer(lost=failed.failure.value)
        except TimeoutError:
            answer = Answer(lost="silence")
        self._did(kind, began, answer.lost or right(answer))
        return answer

    def _did(self, kind: str, began: float, how: str) -> None:
        self.deeds.append(Deed(kind, began, time.monotonic(), how))

    async def _ping(self, name: str, wire: Wire) -> None:
        while await self._pause(0.05):
            nonce = self._chance.randbytes(8).hex()
            await self._ask(wire, "ping", Request("GET", f"/ping?nonce={nonce}"), _holds(nonce))

    async def _list(self, name: str, wire: Wire) -> None:
        while await self._pause(0.1):
            await self._ask(wire, "list", Request("GET", "/notes"), _holds('"ids"'))

    def _note(self, name: str, number: int, key: str = "", doomed: bool = False) -> Request:
        """Say to the account what is meant, and return the request for it."""
        note = {"id": f"{name}/{number}", "actor": name, "number": number, "doomed": doomed}
        self.entries.append(Entry(Kind.INTENT, f"{name}/{number}"))
        keys = (("Idempotency-Key", f'"{key}"'),) if key else ()
        headers = (self._authorization, JSON, *keys)
        return Request("POST", "/notes", headers, json.dumps(note).encode(), f"{name}/{number}")

    @property
    def _authorization(self) -> tuple[str, str]:
        return "Authorization", f"Bearer {self._token}"

    async def _keyed(self, name: str, wire: Wire) -> None:
        """Write one note after the other, each asked for until it is answered."""
        number = 0
        while await self._pause(0.1):
            number += 1
            request = self._note(name, number, key=f"{name}/{number}")
            if self._chance.random() < HASTY:
                await self._lose(wire, request)
            right = _holds(f'"{request.id}"')
            while (await self._ask(wire, "keyed", request, right)).status != 201:
                await asyncio.sleep(0.1)
                headers = (self._authorization, *request.headers[1:])
                request = request._replace(headers=headers)
            self.entries.append(Entry(Kind.ACKNOWLEDGED, request.id))

    async def _lose(self, wire: Wire, request: Request) -> None:
        """Ask, and be gone before the answer comes, or just about."""
        with suppress(Failed, TimeoutError):
            async with asyncio.timeout(0.02 * self._chance.random()):
                await wire.open()
                await wire.exchange(request)
        wire.abort()

    async def _plain(self, name: str, wire: Wire) -> None:
        number = 0
        while await self._pause(0.1):
            number += 1
            request = self._note(name, number)
            answer = await self._ask(wire, "plain", request, _holds(f'"{request.id}"'))
            self.entries.append(Entry(_meant(answer), request.id))

    async def _doom(self, name: str, wire: Wire) -> None:
        """Write what is rolled back, and not told of to anybody."""
        number = 0
        while await self._pause(0.2):
            number += 1
            request = self._note(name, number, doomed=True)
            self.doomed.add(request.id)
            await self._ask(wire, "doomed", request, _is(409))

    async def _stream(self, name: str, wire: Wire) -> None:
        def right(answer: Answer) -> str:
            body, _, digest = answer.body.rpartition(b"\n")
            same = hashlib.sha256(body).hexdigest().encode() == digest
            return _is(200)(answer) or ("" if same else MIXED)

        while await self._pause(0.1):
            await self._ask(wire, "stream", Request("GET", "/stream"), right)

    async def _upload(self, name: str, wire: Wire) -> None:
        while await self._pause(0.2):
            body = self._chance.randbytes(200_000)
            request = Request("PUT", "/upload", (), body)
            await self._ask(wire, "upload", request, _holds(hashlib.sha256(body).hexdigest()))

    async def _socket(self, name: str, wire: Wire) -> None:
        number = 0
        while await self._pause(0.1):
            began, how = time.monotonic(), ""
            try:
                async with asyncio.timeout(PATIENCE):
                    async with connect(f"ws://{self._address}/echo", proxy=None) as socket:
                        while await self._pause(0.1) and time.monotonic() - began < SESSION:
                            number += 1
                            await socket.send(f"{name}/{number}")
                            if await socket.recv() != f"{name}/{number}":
                                how = MIXED
            except websockets.InvalidStatus as refused:
                how = str(refused.response.status_code)
            except websockets.ConnectionClosed as closed:
                how = f"closed {closed.rcvd.code if closed.rcvd else 'without a word'}"
            except websockets.WebSocketException as error:
                how = type(error).__name__
            except TimeoutError:
                how = "silence"
            except OSError:
                how = "reset"
            self._did("socket", began, how)

    def _credentials(self, path: str) -> Request:
        who = {"email": f"{self._name}@example.org", "password": PASSWORD}
        return Request("POST", path, (JSON,), json.dumps(who).encode())

    def _hold(self, answer: Answer) -> None:
        found = json.loads(answer.body)
        self._token, self._refresh = found["access_token"], found["refresh_token"]

    async def _session(self, name: str, wire: Wire) -> None:
        """Sign in and refresh that twice, again and again."""
        while await self._pause(1.0):
            answer = await self._ask(wire, "sign-in", self._credentials("/tokens"), _is(201))
            for _ in range(2):
                if answer.status not in (200, 201):
                    break
                self._hold(answer)
                if not await self._pause(1.0):
                    break
                answer = await self._refreshed(wire)

    async def _refreshed(self, wire: Wire) -> Answer:
        """Refresh; whoever has lost the answer asks by the same token again, and is known."""
        held = json.dumps({"refresh_token": self._refresh}).encode()
        request = Request("POST", "/tokens/refresh", (JSON,), held)
        until = time.monotonic() + GRACE
        while True:
            answer = await self._ask(wire, "refresh", request, _is(200, 201))
            if answer.status in (200, 201, 401) or time.monotonic() > until:
                return answer
            await asyncio.sleep(0.1)

    async def _leave(self, name: str, wire: Wire) -> None:
        """Ask for this and that, and leave in the middle of it."""
        number = 0
        while await self._pause(0.05):
            number += 1
            note = self._note(name, number)
            self.entries.append(Entry(Kind.UNKNOWN, note.id))
            # The upload says that it is twice as long as it will ever be.
            request = self._chance.choice(
                [
                    note,
                    Request("GET", "/stream"),
                    Request("GET", "/slow"),
                    Request("GET", "/ping"),
                    Request("PUT", "/upload", (LENGTH,)),
                ]
            )
            sent = request.encode(str(self._address)).replace(b"Content-Length: 0\r\n", b"")
            sent += bytes(100_000 if request.method == "PUT" else 0)
            with suppress(OSError):
                reader, writer = await dial(self._address)
                writer.write(sent)
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5 * self._chance.random() ** 3):
                        while await reader.read(4096):
                            pass
                writer.transport.abort()


def _is(*statuses: int) -> Right:
    def right(answer: Answer) -> str:
        return "" if answer.status in statuses else _named(answer)

    return right


def _holds(words: str) -> Right:
    def right(answer: Answer) -> str:
        if answer.status not in (200, 201):
            return _named(answer)
        return "" if words.encode() in answer.body else MIXED

    return right


def _named(answer: Answer) -> str:
    with suppress(ValueError, AttributeError):
        return f"{answer.status} {json.loads(answer.body).get('code', '')}".strip()
    return str(answer.status)


def _meant(answer: Answer) -> Kind:
    """Say what an answer means for the effect of what was asked without a key."""
    if answer.lost:
        return Kind.REFUSED if answer.lost in UNSENT else Kind.UNKNOWN
    if answer.status == 201:
        return Kind.ACKNOWLEDGED
    return Kind.REFUSED if 400 <= answer.status < 500 and answer.status != 408 else Kind.UNKNOWN
