"""Passwords: argon2id off the loop, in a pool whose queue is bounded.

One hash takes a quarter of a second and 64 MiB on purpose. So this is the cheapest thing to
overload: more attempts than the pool and its queue can hold are refused at once, and each costs
the same whether or not the account exists. Nor may one address, or guesses at one account, have
all of it: each has its part, of what is in work at a time, and of what waits, the work of who asks
seldom comes first (`turns`). A part is free again as soon as that work has ended, so nobody is
ever locked out for what was tried before.

Source: RFC 9106 (argon2), OWASP password storage cheat sheet, NIST SP 800-63B section 5.1.1.2.
"""

import asyncio
import secrets
import threading
import unicodedata
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from msgspec import Meta

from switchgear.core.clock import FINE, Clock
from switchgear.identity.turns import NOBODY, Asker, Turn, Turns, TurnTerms
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import Refused

__all__ = ["Checked", "PasswordSettings", "Passwords", "Work", "prepared"]

_Out = TypeVar("_Out")
_CLOSED: Final = Refused(Refusal.DRAINING, "password work is closed")
_LONGEST: Final = 1024  # bytes: hashing starts with reading all of it


class PasswordSettings(msgspec.Struct, frozen=True):
    """What one hash costs, and how many may be under way. Each worker needs `memory_kib`.

    Of what runs and waits, `per_address` may be of one client's address, and `per_account` for one
    account: with as many as there are workers, one alone still gets all the speed there is. Each
    ask puts its address off by `turn_every` seconds, behind all who asked less of late. What has
    not begun after `patience` seconds is refused, while there is time to say so.
    """

    rounds: Annotated[int, Meta(ge=1, le=20)] = 3
    memory_kib: Annotated[int, Meta(ge=8, le=1_048_576)] = 65_536
    parallelism: Annotated[int, Meta(ge=1, le=16)] = 1
    workers: Annotated[int, Meta(ge=1, le=64)] = 2
    queue: Annotated[int, Meta(ge=0, le=1024)] = 16
    per_address: Annotated[int, Meta(ge=1, le=1088)] = 4
    per_account: Annotated[int, Meta(ge=1, le=1088)] = 6
    turn_every: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    patience: Annotated[float, Meta(gt=0, le=60)] = 3.0


class Checked(NamedTuple):
    """Whether the password was right; `rehash` when the stored hash costs less than we ask now."""

    right: bool
    rehash: bool = False


class Passwords:
    """Hashes and checks passwords without holding up the loop."""

    def __init__(self, settings: PasswordSettings | None = None, clock: Clock = FINE) -> None:
        self._settings = settings = settings or PasswordSettings()
        self._hasher = PasswordHasher(
            time_cost=settings.rounds,
            memory_cost=settings.memory_kib,
            parallelism=settings.parallelism,
        )
        # The hash of no password, which costs as much to check as any.
        salt, digest = (
            b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (16, 32)
        )
        costs = f"m={settings.memory_kib},t={settings.rounds},p={settings.parallelism}"
        self._nobody = f"$argon2id$v=19${costs}${salt}${digest}"
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="passwords")
        self._clock = clock
        self._patience = settings.patience
        self._lock = threading.Lock()
        self._turns = Turns(
            TurnTerms(
                settings.workers,
                settings.queue,
                settings.per_address,
                settings.per_account,
                settings.turn_every,
            )
        )
        self._closed = False
        self._done = 0

    @asynccontextmanager
    async def turn(self, asker: Asker = NOBODY) -> AsyncIterator["Work"]:
        """Wait for a place to work in, and leave it at the end, when all work there has ended.

        Raises `Fault`: a refusal when all is full, also by those who have come since and asked
        less, or when `asker` has its part.
        """
        if self._closed:
            raise _CLOSED.fault()
        loop = asyncio.get_running_loop()
        turn = Turn(asker)
        work = Work(self._submit, self._hasher, self._matches, self._nobody)
        turn.begun = loop.create_future()
        found = self._turns.ask(turn, self._clock())
        if isinstance(found, Refused):
            raise found.fault()
        if found is not None:
            _wake(found, self._turns.full())
        self._start()
        tired = loop.call_later(self._patience, self._tire, turn)
        try:
            refused: Refused | None = await turn.begun
            if refused is not None:
                raise refused.fault()
            yield work
        finally:
            tired.cancel()
            work.over(partial(self._end, turn), loop)

    def crowded(self, account: str) -> bool:
        """Say whether so much is in work for an account that more would be refused."""
        return self._turns.crowded(account)

    async def hash(self, password: str, asker: Asker = NOBODY) -> str:
        """Return the hash to store: it carries its own parameters and salt.

        Raises `Fault`: invalid argument for a password that is too long, and as `turn` does.
        """
        prepared(password)
        async with self.turn(asker) as work:
            return await work.hash(password)

    async def check(self, password: str, stored: str | None, asker: Asker = NOBODY) -> Checked:
        """Say whether `password` is the one of the `stored` hash; None for an unknown account.

        Raises `Fault` as `hash` does, and as `Work.check`.
        """
        prepared(password)
        async with self.turn(asker) as work:
            return await work.check(password, stored)

    def close(self) -> None:
        """Give up what waits, and let what runs come to its end."""
        self._closed = True
        for turn in self._turns.clear():
            _wake(turn, _CLOSED)
        self._pool.shutdown(wait=False)

    def statistics(self) -> dict[str, float | str]:
        """Return the present figures; `out` counts what runs and what waits."""
        return {"out": self._turns.out, "refused": self._turns.refused, "done": self._done}

    def _matches(self, prepared: bytes, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, prepared)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError) as error:
            raise Fault(Code.DATA_LOSS, f"a stored password hash is unreadable: {error}") from error

    def _submit(self, work: Callable[..., _Out], *arguments: object) -> "Future[_Out]":
        try:
            future = self._pool.submit(work, *arguments)
        except RuntimeError:
            raise _CLOSED.fault() from None
        future.add_done_callback(self._hashed)
        return future

    def _hashed(self, _: "Future[Any]") -> None:
        with self._lock:
            self._done += 1

    def _start(self) -> None:
        """Begin what is next, for as many as there are workers free."""
        while (turn := self._turns.next()) is not None:
            _wake(turn, None)

    def _end(self, turn: Turn) -> None:
        self._turns.end(turn)
        self._start()

    def _tire(self, turn: Turn) -> None:
        """Refuse what others always went before: at its deadline that is taken for a hang."""
        if self._turns.leave(turn):
            _wake(turn, self._turns.full())


class Work:
    """What may be done in a turn: one thing after another, each for the price of a hash."""

    def __init__(
        self,
        submit: "Callable[..., Future[Any]]",
        hasher: PasswordHasher,
        matches: Callable[[bytes, str], bool],
        nobody: str,
    ) -> None:
        self._submit = submit
        self._hasher = hasher
        self._matches = matches
        self._nobody = nobody
        self._running: Future[Any] | None = None

    async def hash(self, password: str) -> str:
        """Return the hash to store. Raises `Fault` (invalid argument)."""
        return await self._run(self._hasher.hash, prepared(password))

    async def check(self, password: str, stored: str | None) -> Checked:
        """Say whether `password` is the one of the `stored` hash; None for an unknown account.

        An unknown account is checked all the same, against a hash of no password. Raises `Fault`
        (invalid argument), and data loss for a stored hash that cannot be read.
        """
        right = await self._run(self._matches, prepared(password), stored or self._nobody)
        if stored is None or not right:
            return Checked(right=False)
        return Checked(right=True, rehash=self._hasher.check_needs_rehash(stored))

    def over(self, end: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Call `end` when the work has really ended: a caller who left does not end it."""
        if self._running is None or self._running.done():
            end()
            return

        def later(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and who waits with it
                loop.call_soon_threadsafe(end)

        self._running.add_done_callback(later)

    async def _run(self, work: Callable[..., _Out], *arguments: object) -> _Out:
        self._running = running = self._submit(work, *arguments)
        found: _Out = await asyncio.wrap_future(running)
        return found


def _wake(turn: Turn, refused: Refused | None) -> None:
    """Have whoever waits for a turn go on, unless he has left."""
    if not turn.begun.done():
        turn.begun.set_result(refused)


def prepared(password: str) -> bytes:
    """Return the bytes to hash: composed Unicode, for the same word typed on two machines.

    Raises a Fault (invalid argument) for what cannot be a password.
    """
    try:
        prepared = unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        raise _unusable("is not text") from None
    if len(prepared) > _LONGEST:
        raise _unusable(f"is longer than {_LONGEST} bytes")
    return prepared


def _unusable(why: str) -> Fault:
    return Fault(
        Code.INVALID_ARGUMENT,
        f"the password {why}",
        effect=Effect.NONE,
        extra={"errors": [{"pointer": "/password", "detail": why}]},
    )
