"""Half-closed connections: whether a client that sends no more has left, or only waits.

The end of what it sends looks the same on the wire, whether it has closed one half or both; only
something that is sent to it tells. So it is asked: an answer that flows asks by itself, and where
none has begun a `100 Continue` does, which every client of HTTP/1.1 has to skip (RFC 9110
section 15.2.1) and which a closed socket answers with a reset. Who cannot be asked (HTTP/1.0, an
answer that has begun and stands still) is waited for no longer than `half_close`.
"""

from typing import TYPE_CHECKING, Final

from switchgear.core.clock import Clock
from switchgear.core.sweep import Sweep
from switchgear.http.watch import Watching, gone

if TYPE_CHECKING:
    from switchgear.http.connection import Connection
    from switchgear.http.exchange import Exchange

__all__ = ["HalfClosed"]

_ASK: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_SOON: Final = 0.05  # seconds until it is asked: most answers are there before
_SELDOM: Final = 1.0  # seconds between two looks, in the end


class HalfClosed(Watching):
    """Watches one connection whose client has ended what it sends, amid a request."""

    __slots__ = ("_asked", "_connection", "_exchange", "_next", "_sent", "_since")

    def __init__(self, connection: "Connection") -> None:
        super().__init__()
        self._connection = connection
        self._exchange: Exchange | None = connection.exchange
        self._asked = False
        self._next = _SOON
        self._sent = 0
        self._since = connection.server.clock()  # the last sign that the client may be there
        self.watch(self._since + _SOON)

    def clockwork(self) -> tuple[Clock, Sweep]:
        """Return those of the connection."""
        return self._connection.clockwork()

    def look(self, now: float) -> float | None:
        """Find out whether the client is there; return when to look again, or None at the end."""
        connection = self._connection
        if connection.lost or connection.transport.is_closing():
            return None
        if gone(connection.transport) or self._silent(now):
            connection.cut()
            return None
        wait, self._next = self._next, min(2 * self._next, _SELDOM)
        return now + wait

    def _silent(self, now: float) -> bool:
        """Ask where that can be done; say whether the client was waited for long enough."""
        connection = self._connection
        exchange = connection.exchange
        if exchange is None:
            return False
        if exchange is not self._exchange:
            self._exchange, self._asked, self._sent, self._since = exchange, False, 0, now
        if not exchange.begun and exchange.minor:
            if not self._asked:
                self._asked = True
                connection.send(_ASK)
            self._since = now
        elif self._moves(exchange):
            self._sent, self._since = exchange.sent, now
        return now - self._since >= connection.server.settings.half_close

    def _moves(self, exchange: "Exchange") -> bool:
        """Say whether its answer goes on, or waits for the client, who is given up elsewhere."""
        connection = self._connection
        waits = connection.blocked or connection.transport.get_write_buffer_size() > 0
        return waits or exchange.sent != self._sent
