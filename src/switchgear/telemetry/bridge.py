"""The bridge: stdlib logging, structlog and warnings, brought into the process's one log.

User code and libraries log as they always did; their lines come out in the same form, with the
same level, through the same bounded writer.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

from switchgear.telemetry.logs import RANKS, Log
from switchgear.telemetry.settings import Level

__all__ = ["LoggingBridge", "bridge", "bridge_structlog"]

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LoggingBridge(logging.Handler):
    """A stdlib handler that writes each record as one event; `extra=` becomes fields."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self._plain = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; what fails to format goes to logging's own error handler."""
        try:
            fields = {key: value for key, value in vars(record).items() if key not in _OWN}
            if record.exc_info:
                fields["exception"] = self._plain.formatException(record.exc_info)
            if record.stack_info:
                fields["stack"] = record.stack_info
            fields["logger"] = record.name
            self._log.write(_level(record.levelno), record.getMessage(), **_renamed(fields))
        except Exception:  # noqa: BLE001 - the contract of logging.Handler.emit
            self.handleError(record)


def bridge(log: Log) -> None:
    """Route the root logger and Python's warnings into this log."""
    root = logging.getLogger()
    root.handlers = [LoggingBridge(log)]
    root.setLevel(log.rank)
    logging.captureWarnings(capture=True)


def bridge_structlog(log: Log) -> None:
    """Route structlog into this log, if the application that was just loaded uses it.

    Only then: it brings rich along, 10 MB in each process. And only where the application has not
    configured it, for then its lines go where it wants them.
    """
    if "structlog" not in sys.modules:
        return
    import structlog

    if structlog.is_configured():
        return

    def deliver(_: Any, method: str, event: MutableMapping[str, Any]) -> str:
        fields = dict(event)
        text = str(fields.pop("event", ""))
        log.write(_level(RANKS.get(method, 40)), text, **_renamed(fields))
        raise structlog.DropEvent  # written: nothing is left for a structlog logger to print

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            deliver,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(log.rank),
        cache_logger_on_first_use=True,
    )


def _level(rank: int) -> Level:
    if rank >= 40:
        return "error"
    if rank >= 30:
        return "warning"
    return "info" if rank >= 20 else "debug"


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    """Keep a caller's fields from replacing our own: `level` becomes `level_`, and so on."""
    return {
        f"{key}_" if key in ("at", "level", "process", "event") else str(key): value
        for key, value in fields.items()
    }
