"""What is told of refusals: counts by reason, and lines that no attacker fills a disk with."""

from asyncio import TimerHandle, get_running_loop
from typing import Any, Final

from switchgear.http.events import Turned
from switchgear.http.refusals import OTHER, REASONS
from switchgear.http.server import Server
from switchgear.telemetry.logs import Log
from switchgear.telemetry.metrics import Registry

__all__ = ["RefusalLog", "server_metrics"]

_DETAIL_CHARS: Final = 200
_SPAN: Final = 1.0  # seconds


class RefusalLog:
    """Write a line for each refusal, up to `most` a second and reason; then one that counts.

    What the lines left out is told within a second, also when nothing is refused any more.
    """

    def __init__(self, log: Log, *, most: int = 5, reasons: frozenset[str] = REASONS) -> None:
        if most < 1:
            raise ValueError(f"RefusalLog.most is {most}, where at least 1 line would be right")
        self._log = log
        self._most = most
        self._reasons = reasons
        self._seen: dict[str, int] = {}  # of this second; the reasons are known beforehand
        self._timer: TimerHandle | None = None

    def __call__(self, event: Any) -> None:
        if not isinstance(event, Turned):
            return
        reason = event.reason if event.reason in self._reasons else OTHER
        seen = self._seen[reason] = self._seen.get(reason, 0) + 1
        if self._timer is None:
            self._timer = get_running_loop().call_later(_SPAN, self._sum_up)
        if seen <= self._most:
            self._log.info(
                "turned_away",
                peer=event.peer,
                status=event.status,
                reason=event.reason,
                detail=event.detail[:_DETAIL_CHARS],
                configured=event.configured,
            )

    def _sum_up(self) -> None:
        self._timer = None
        seen, self._seen = self._seen, {}
        for reason, count in seen.items():
            if count > self._most:
                self._log.warning(
                    "turned_away_more", reason=reason, count=count - self._most, seconds=_SPAN
                )


def server_metrics(registry: Registry, server: Server) -> None:
    """Have a server's own counts read when somebody asks."""
    counters = server.counters
    registry.sampled_by(
        "http_refusals_total",
        "Connections, heads and bodies refused.",
        "reason",
        lambda: counters.refusals,
        "counter",
    )
    registry.sampled("http_connections_open", "Open connections.", lambda: server.census.total)
    registry.sampled(
        "http_connections_total", "Connections let in.", lambda: counters.accepted, "counter"
    )
    registry.sampled(
        "http_connections_made_room_total",
        "Idle connections closed because the cap was near.",
        lambda: counters.made_room,
        "counter",
    )
