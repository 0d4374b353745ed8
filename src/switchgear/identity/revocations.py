"""Revocations: the sessions whose access tokens no longer count, until those would have expired."""

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Revocations"]


class Revocations:
    """A bounded set of revoked sessions. Time is wall-clock, in seconds since 1970.

    When it is full, nothing is forgotten to make room, for that would revive a session. A
    watermark takes over instead: every token issued up to then is refused, so that its
    holder must refresh.
    """

    __slots__ = ("_ends", "_limit", "_outlasting", "_watermark")

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._ends: OrderedDict[str, float] = OrderedDict()
        self._outlasting: dict[str, list[Callable[[], None]]] = {}
        self._watermark = float("-inf")

    def outlast(self, session: str, end: Callable[[], None]) -> None:
        """Have `end` called when a session is revoked: it ends what goes on behind a token of it.

        A WebSocket does, for longer than the token is good for, which nobody looks at again.
        """
        self._outlasting.setdefault(session, []).append(end)

    def forget(self, session: str, end: Callable[[], None]) -> None:
        """Take note that what `end` ends is over."""
        ends = self._outlasting.get(session)
        if ends is not None and end in ends:  # else it was called
            ends.remove(end)
            if not ends:
                del self._outlasting[session]

    def revoke(self, session: str, until: float, now: float) -> None:
        """End a session; `until` is when the last access token issued in it will have expired."""
        if not session:
            raise ValueError("a session without a name cannot be revoked")
        for end in self._outlasting.pop(session, ()):
            end()
        if until <= now:
            return
        self._ends[session] = max(until, self._ends.pop(session, until))
        if len(self._ends) > self._limit:
            self._prune(now)
        if len(self._ends) > self._limit:
            self._ends.clear()
            self._watermark = now

    def revoke_all(self, now: float) -> None:
        """End every session: refuse all tokens issued up to `now`."""
        self._watermark = max(self._watermark, now)

    def covers(self, session: str, issued: float) -> bool:
        """Say whether a token of `session`, issued then, is refused."""
        return session in self._ends or issued <= self._watermark

    def _prune(self, now: float) -> None:
        for session in [name for name, until in self._ends.items() if until <= now]:
            del self._ends[session]

    def __len__(self) -> int:
        return len(self._ends)
