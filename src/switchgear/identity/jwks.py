"""Key sets: the cached public keys of an issuer, refreshed without ever being hammered.

A token with an unknown `kid` may be a rotated key or an attack, and every stranger can send one. So
it causes at most one fetch per interval, shared by all who wait, and a kid that
was not there is remembered as such. When the key service is down, known keys go on
serving, and an unknown one is "unavailable", never "unauthenticated": the caller must not
conclude that its token is bad.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

import msgspec

from switchgear.identity.documents import read_object
from switchgear.identity.keys import UnfitKeyError, VerifyingKey, verifying_key
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["KeySet", "KeySetSettings", "read_jwks"]

_LONGEST = 65_536  # bytes of a published set
_MOST = 64  # keys of a published set

Fetch = Callable[[], Awaitable[bytes]]


def read_jwks(document: bytes) -> tuple[dict[str, VerifyingKey], tuple[str, ...]]:
    """Read a published key set: the keys we use by kid, and why we use the others not.

    Two keys under one kid are both refused. Raises ValueError for what is no key set at all.
    """
    if len(document) > _LONGEST:
        raise ValueError(f"the key set is longer than {_LONGEST} bytes")
    listed = read_object(document).get("keys")
    if not isinstance(listed, list) or len(listed) > _MOST:
        raise ValueError(f"the key set holds no list of up to {_MOST} keys")
    keys: dict[str, VerifyingKey] = {}
    refused: list[str] = []
    twice: set[str] = set()
    for jwk in listed:
        try:
            key = verifying_key(jwk if isinstance(jwk, dict) else {})
        except UnfitKeyError as error:
            refused.append(str(error))
            continue
        if key.kid in keys:
            twice.add(key.kid)
        keys[key.kid] = key
    for kid in twice:
        del keys[kid]
        refused.append(f"key {kid!r} is there more than once")
    return keys, tuple(refused)


class KeySetSettings(msgspec.Struct, frozen=True):
    """How often the key service may be asked: all in seconds, `memory` in kids."""

    interval: float = 5.0
    timeout: float = 2.0
    negative: float = 60.0
    memory: int = 1024


class KeySet:
    """The keys of one issuer. `known` is the hot path, `key` may fetch.

    `fetch` returns the published document, or raises. `clock` is monotonic.
    """

    def __init__(
        self,
        fetch: Fetch,
        settings: KeySetSettings | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._fetch = fetch
        self._settings = settings or KeySetSettings()
        self._clock = clock
        self._keys: dict[str, VerifyingKey] = {}
        self._missing: dict[str, float] = {}  # kid -> until when it counts as unknown
        self._asked = float("-inf")  # when a token last had it ask
        self._error = "no fetch yet"
        self._flight: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[frozenset[str]], None]] = []
        self._fetches = 0
        self.refused: tuple[str, ...] = ()

    def known(self, kid: str) -> VerifyingKey | None:
        """Return the cached key with exactly this kid, or None."""
        return self._keys.get(kid)

    def on_withdrawal(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Call `listener` with the kids that were withdrawn or replaced, whenever some are."""
        self._listeners.append(listener)

    async def key(self, kid: str) -> VerifyingKey:
        """Return the key, asking the key service if it is unknown and may be asked.

        Raises `Fault`: unauthenticated for a kid the issuer does not publish, unavailable
        when that cannot be known.
        """
        key = self._keys.get(kid)
        if key is not None:
            return key
        now = self._clock()
        if self._missing.get(kid, now) > now:
            raise _unknown(kid)
        since = now - self._asked
        if self._flight is None and since < self._settings.interval:
            if self._error:
                raise self._unavailable(kid, self._settings.interval - since)
            raise _unknown(kid)
        if self._flight is None:
            self._asked = now
        await self._fly()
        key = self._keys.get(kid)
        if key is not None:
            return key
        if self._error:
            raise self._unavailable(kid, self._settings.interval)
        self._remember(kid)
        raise _unknown(kid)

    async def refresh(self) -> None:
        """Fetch now (or join the fetch under way). Whoever owns the set calls this regularly.

        Raises `Fault` (unavailable); the keys known so far stay.
        """
        await self._fly()
        if self._error:
            raise self._unavailable("any", self._settings.interval)

    async def close(self) -> None:
        """End a fetch under way; who waits for it is told that the keys are unavailable."""
        flight = self._flight
        if flight is not None:
            flight.cancel()
            await asyncio.wait((flight,))

    def statistics(self) -> dict[str, float | str]:
        """Return the present figures."""
        return {
            "keys": len(self._keys),
            "refused": len(self.refused),
            "missing": len(self._missing),
            "fetches": self._fetches,
            "error": self._error,
        }

    async def _fly(self) -> None:
        """Wait for one fetch, shared: a waiter that is cancelled leaves it to the others."""
        flight = self._flight
        if flight is None:
            self._fetches += 1
            loop = asyncio.get_running_loop()
            flight = self._flight = loop.create_task(self._load(), context=Context())
            flight.add_done_callback(self._landed)
        await asyncio.wait((flight,))

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flight = None
        if flight.cancelled():
            self._error = "the fetch was called off"

    async def _load(self) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout):
                document = await self._fetch()
            keys, refused = read_jwks(document)
            if not keys:
                raise ValueError(f"the key set has no key for us: {'; '.join(refused) or 'empty'}")
        except Exception as error:  # noqa: BLE001 - whatever failed, known keys go on serving
            self._error = str(error) or type(error).__name__
            return
        self._error = ""
        self.refused = refused
        gone = frozenset(
            kid for kid, key in self._keys.items() if kid not in keys or not key.same_as(keys[kid])
        )
        self._keys = keys
        for kid in keys.keys() & self._missing.keys():
            del self._missing[kid]
        if gone:
            for listener in self._listeners:
                listener(gone)

    def _remember(self, kid: str) -> None:
        while len(self._missing) >= self._settings.memory:
            del self._missing[next(iter(self._missing))]
        self._missing[kid] = self._clock() + self._settings.negative

    def _unavailable(self, kid: str, wait: float) -> Fault:
        return Fault(
            Code.UNAVAILABLE,
            f"key {kid[:64]!r} is not known and the key service does not answer: {self._error}",
            effect=Effect.NONE,
            retry_after=wait,
            origin="keys",
        )


def _unknown(kid: Any) -> Fault:
    return Fault(
        Code.UNAUTHENTICATED,
        f"the issuer publishes no key {kid[:64]!r}",
        effect=Effect.NONE,
        public="The token is not valid.",
    )
