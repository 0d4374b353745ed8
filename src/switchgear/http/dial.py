"""Dialling: opening one more connection of a pool, apart from whoever asked for it.

A name may have several addresses, and the first of them may be dead: the next is tried as soon as
one fails, and as well when one takes long; the first connection that stands is taken. (uvloop has
no such thing, and asyncio's own does not reach into the handshake.) Source: RFC 8305.
"""

import asyncio
import errno
import socket
import ssl
from asyncio import Future
from collections.abc import Callable, Coroutine
from contextvars import Context
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from switchgear.http.spoken import connected
from switchgear.policy.fault import Effect

if TYPE_CHECKING:
    from switchgear.http.client import Upstream
    from switchgear.http.pool import Pool

__all__ = ["EXHAUSTED", "Dial", "Hurry", "Secure", "addresses", "reach"]

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What a call of the system says where it is we who have nothing left to make a socket of."""

GOODBYE: Final = 1.0  # seconds for the other side's part of closing TLS

Attempt = Callable[[], Coroutine[Any, Any, "Upstream"]]


class Dial:
    """One connection being opened, in a task of its own: who asked for it may leave.

    It is its own alarm: when it rings, the attempt is called off.
    """

    __slots__ = ("_late", "_pool", "_slot", "found", "task")

    def __init__(self, pool: "Pool") -> None:
        loop = asyncio.get_running_loop()
        self._pool = pool
        self._late = False
        self.found: Future[Upstream] = loop.create_future()
        self._slot = pool.sweep.arm(pool.clock() + pool.settings.connect_timeout, self)
        self.task = loop.create_task(self._pool.dial(), context=Context())
        # Not at the end of what runs: called off before its first step, it would not get there.
        self.task.add_done_callback(self._over, context=Context())

    def _over(self, task: "asyncio.Task[Upstream]") -> None:
        """Take the end of the attempt, whatever it came to."""
        self._slot.discard(self)
        made: Upstream | None = None
        failure: BaseException | None = None
        if task.cancelled():
            within = f"none within {self._pool.settings.connect_timeout} s"
            failure = TimeoutError(within) if self._late else asyncio.CancelledError()
        else:
            failure = task.exception()
            if failure is None:
                made = task.result()
        self._pool.dialled(self, made, failure)

    def ring(self) -> None:
        """Call the attempt off: it took too long, or the pool is closing."""
        self._late = True
        self.task.cancel()


class Hurry:
    """The deadline of a call that waits for a connection."""

    __slots__ = ("_found", "_pool")

    def __init__(self, found: "Future[Upstream]", pool: "Pool") -> None:
        self._found = found
        self._pool = pool

    def ring(self) -> None:
        if not self._found.done():
            self._found.set_exception(self._pool.overdue(Effect.NONE))


class Secure:
    """How a pool's connections are made secure: by a context, for a name."""

    __slots__ = ("context", "name")

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self.context = context
        self.name = name

    def arguments(self, connect_timeout: float) -> dict[str, Any]:
        """Return it as the loop's arguments. The loop's own deadline is a second line only."""
        return {
            "ssl": self.context,
            "server_hostname": self.name,
            "ssl_handshake_timeout": 2 * connect_timeout + 1,
            "ssl_shutdown_timeout": GOODBYE,
        }


async def addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a name in the order to try them: families alternate.

    Raises OSError when it has none.
    """
    if _is_address(host):  # nobody needs to be asked, in a thread at that
        return [host]
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # as for a name that nobody has: it is none that could be had
        raise OSError(f"{host[:80]!r} is no name of a host: {error}") from None
    families: dict[int, list[str]] = {}
    for family, _, _, _, name in found:
        scope = f"%{name[3]}" if len(name) == 4 and name[3] else ""
        families.setdefault(family, []).append(f"{name[0]}{scope}")
    longest = max(map(len, families.values()))
    turns = [one[turn] for turn in range(longest) for one in families.values() if turn < len(one)]
    return list(dict.fromkeys(turns))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def reach(
    make: "Callable[[], Upstream]", host: str, port: int, secure: dict[str, Any], delay: float
) -> "Upstream":
    """Connect to the first address of `host` that lets us.

    Raises OSError, of all of them, when none does.
    """
    loop = asyncio.get_running_loop()

    def attempt(address: str) -> Attempt:
        async def run() -> "Upstream":
            try:
                return await connected(loop.create_connection, make, address, port, **secure)
            except ssl.SSLCertVerificationError:
                raise
            except OSError as error:
                if error.errno in EXHAUSTED:
                    raise
                raise OSError(f"{address}: {error}") from error

        return run

    found = await addresses(host, port)
    if len(found) == 1:
        return await attempt(found[0])()
    return await _race([attempt(address) for address in found], delay)


async def _race(attempts: list[Attempt], delay: float) -> "Upstream":
    loop = asyncio.get_running_loop()
    waiting = iter(attempts)
    running: set[asyncio.Task[Upstream]] = set()
    errors: list[OSError] = []
    left = len(attempts)
    try:
        while left or running:
            if left:
                left -= 1
                running.add(loop.create_task(next(waiting)()))
            done, _ = await asyncio.wait(
                running, timeout=delay if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                try:
                    won = task.result()
                except OSError as error:
                    running.discard(task)
                    errors.append(error)
                else:
                    running.discard(task)
                    return won
        raise _joined(errors)
    finally:
        # Nothing is waited for: called off meanwhile, it would leave what has won to nobody.
        for task in running:
            task.add_done_callback(_given_up)
            task.cancel()


def _given_up(task: "asyncio.Task[Upstream]") -> None:
    """End what an attempt has brought all the same."""
    if not task.cancelled() and task.exception() is None:
        task.result().transport.abort()


def _joined(errors: list[OSError]) -> OSError:
    """Join what went wrong; a certificate that cannot be believed outweighs the rest.

    So does our own want: what could not be tried says nothing of the others.
    """
    for error in errors:
        if isinstance(error, ssl.SSLCertVerificationError) or error.errno in EXHAUSTED:
            return error
    return OSError("; ".join(map(str, errors)))
