"""Request lines as text: written by hand where a request went well, as nearly all of them do.

To make the struct and have it encoded costs twice as much. What can be taken over as it stands was
read strictly, or is our own; whatever else may stand in a line is encoded as ever, and kept.
"""

from typing import Final

from switchgear.gateway.passage import Passage
from switchgear.http.exchanged import Exchanged
from switchgear.telemetry.logs import json_line

__all__ = ["LineText"]

PATH_CHARS: Final = 500  # of a path in the log
_KEPT: Final = 4096
# The decimals of milliseconds, as they are written where a float is.
_DECIMALS: Final = tuple(f".{cents:02d}".removesuffix("0") for cents in range(100))
_LONGEST: Final = 100_000_000_000  # hundredths of milliseconds


class LineText:
    """Writes the lines of one process."""

    __slots__ = ("_head", "_quoted")

    def __init__(self, process: str) -> None:
        self._quoted: dict[str, str] = {}
        self._head = f'","level":"info","process":{self._said(process)},"event":"request","route":'

    def write(self, stamp: str, event: Exchanged) -> bytes | None:
        """Write the line of an exchange at the instant `stamp`; None where it is to be encoded."""
        call, status, sent = event.call, event.status, event.sent
        request, trail, trace = call.payload, call.trail, call.trace
        if (
            status >= 500
            or not isinstance(trail, Passage)
            or trace is None
            or not trail.attempts
            or not trail.endpoints
            or event.left
            or event.cut
            or trail.fault
            or trail.detail
            or event.fault
            or event.detail
        ):
            return None
        path, upstream = request.path, trail.upstream
        own, spent = _hundredths(event.elapsed - upstream), _hundredths(upstream)
        if not (0 <= own < _LONGEST and 0 <= spent < _LONGEST):
            return None
        if len(path) > PATH_CHARS or not path.isprintable() or '"' in path or "\\" in path:
            return None
        who, endpoint = trail.vouched.principal, trail.endpoints[-1]
        subject = "" if who is None else who.subject
        principal = f',"principal":{self._said(subject)}' if subject else ""
        process = f',"endpoint":{self._said(endpoint)}' if endpoint else ""
        return (
            f'{{"at":"{stamp}{self._head}{self._said(trail.route)},"method":"{request.method}",'
            f'"path":"{path}","status":{status},"trace":"{trace.trace_id}",'
            f'"own_ms":{own // 100}{_DECIMALS[own % 100]},'
            f'"upstream_ms":{spent // 100}{_DECIMALS[spent % 100]},'
            f'"bytes":{sent},"peer":{self._said(request.peer)},"attempts":{trail.attempts}'
            f'{process}{principal},"request_id":"{trail.request_id}"}}'
        ).encode()

    def _said(self, text: str) -> str:
        """Return a text as JSON has it."""
        said = self._quoted.get(text)
        if said is None:
            if len(self._quoted) >= _KEPT:
                self._quoted.clear()
            said = self._quoted[text] = json_line(text).decode()
        return said


def _hundredths(seconds: float) -> int:
    return int(seconds * 1e5 + 0.5)
