"""Passwords: argon2id off the loop, in a pool whose queue is bounded.

One hash takes a quarter of a second and 64 MiB on purpose. So this is the cheapest thing to
overload: more attempts than the pool and its queue can hold are refused at once, and each costs
the same whether or not the account exists. Nor may one address, or guesses at one account, have
all of it: each has its part, of what is in work at a time. A part is free again as soon as that
work has ended, so nobody is ever locked out for what was tried before.

Source: RFC 9106 (argon2), OWASP password storage cheat sheet, NIST SP 800-63B section 5.1.1.2.
"""

import asyncio
import secrets
import threading
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from msgspec import Meta

from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import Refused

__all__ = ["NOBODY", "Asker", "Checked", "PasswordSettings", "Passwords"]

_Out = TypeVar("_Out")
_LONGEST: Final = 1024  # bytes: hashing starts with reading all of it


class PasswordSettings(msgspec.Struct, frozen=True):
    """What one hash costs, and how many may be under way. Each worker needs `memory_kib`.

    Of what runs and waits, `per_address` may be of one client's address, and `per_account` for one
    account: with as many as there are workers, one alone still gets all the speed there is.
    """

    rounds: Annotated[int, Meta(ge=1, le=20)] = 3
    memory_kib: Annotated[int, Meta(ge=8, le=1_048_576)] = 65_536
    parallelism: Annotated[int, Meta(ge=1, le=16)] = 1
    workers: Annotated[int, Meta(ge=1, le=64)] = 2
    queue: Annotated[int, Meta(ge=0, le=1024)] = 16
    per_address: Annotated[int, Meta(ge=1, le=1088)] = 4
    per_account: Annotated[int, Meta(ge=1, le=1088)] = 6


class Asker(NamedTuple):
    """Whose work it is: by the client's `address`, and the `account` it names, be there one or not.

    What is empty is not counted.
    """

    address: str = ""
    account: str = ""


NOBODY: Final = Asker()


class Checked(NamedTuple):
    """Whether the password was right; `rehash` when the stored hash costs less than we ask now."""

    right: bool
    rehash: bool = False


class Passwords:
    """Hashes and checks passwords without holding up the loop."""

    def __init__(self, settings: PasswordSettings | None = None) -> None:
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
        self._lock = threading.Lock()
        self._out = 0
        self._parts: dict[str, int] = {}  # what is out of each: bounded by what is out in all
        self._refused = 0
        self._done = 0

    async def hash(self, password: str, asker: Asker = NOBODY) -> str:
        """Return the hash to store: it carries its own parameters and salt.

        Raises `Fault`: invalid argument for a password that is too long, a refusal when all is full
        or `asker` has its part.
        """
        return await self._run(asker, self._hasher.hash, _prepared(password))

    async def check(self, password: str, stored: str | None, asker: Asker = NOBODY) -> Checked:
        """Say whether `password` is the one of the `stored` hash; None for an unknown account.

        An unknown account is checked all the same, against a hash of no password. Raises `Fault` as
        `hash` does, and data loss for a stored hash that cannot be read.
        """
        prepared = _prepared(password)
        right = await self._run(asker, self._matches, prepared, stored or self._nobody)
        if stored is None or not right:
            return Checked(right=False)
        return Checked(right=True, rehash=self._hasher.check_needs_rehash(stored))

    def look(self, asker: Asker) -> None:
        """Raise what work of `asker` would be refused with now: for who has other work to spare."""
        with self._lock:
            self._admit(asker)

    def close(self) -> None:
        """Give up what waits, and let what runs come to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def statistics(self) -> dict[str, float | str]:
        """Return the present figures; `out` counts what runs and what waits."""
        return {"out": self._out, "refused": self._refused, "done": self._done}

    def _matches(self, prepared: bytes, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, prepared)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError) as error:
            raise Fault(Code.DATA_LOSS, f"a stored password hash is unreadable: {error}") from error

    async def _run(self, asker: Asker, work: Callable[..., _Out], *arguments: object) -> _Out:
        with self._lock:
            self._admit(asker)
            self._count(asker, 1)
        try:
            future = self._pool.submit(work, *arguments)
        except RuntimeError:
            self._back(asker, None)
            raise Refused(Refusal.DRAINING, "password work is closed").fault() from None
        future.add_done_callback(partial(self._back, asker))
        return await asyncio.wrap_future(future)

    def _admit(self, asker: Asker) -> None:
        refused = self._full(asker)
        if refused is not None:
            self._refused += 1
            raise refused.fault()

    def _full(self, asker: Asker) -> Refused | None:
        """Refuse what there is no room for, and who has his part of the places in work already."""
        settings = self._settings
        room = settings.workers + settings.queue
        if self._out >= room:
            told = f"password work is full: {room} of {room} places out"
            return Refused(Refusal.FULL, told, 1.0)
        for kind, name, most in zip(
            Asker._fields, asker, (settings.per_address, settings.per_account), strict=True
        ):
            if name and self._parts.get(f"{kind} {name}", 0) >= most:
                told = f"{most} of {most} places for password work of this {kind} are out"
                return Refused(Refusal.LIMITED, told, 1.0)
        return None

    def _count(self, asker: Asker, one: int) -> None:
        """Count a place out (1), or back (-1)."""
        self._out += one
        parts = self._parts
        for kind, name in zip(Asker._fields, asker, strict=True):
            if name:
                part = f"{kind} {name}"
                parts[part] = parts.get(part, 0) + one
                if not parts[part]:
                    del parts[part]

    def _back(self, asker: Asker, future: "Future[_Out] | None") -> None:
        """Take a place back when its work has really ended: a caller who left does not end it."""
        with self._lock:
            self._count(asker, -1)
            self._done += future is not None and not future.cancelled()


def _prepared(password: str) -> bytes:
    """Return the bytes to hash: composed Unicode, for the same word typed on two machines."""
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
