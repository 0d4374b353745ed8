"""Logs: one event, one line. JSON for machines, a readable line for a person's terminal.

`Log.event` is the hot path: a frozen struct, encoded once by msgspec (see `bench`: well below a
microsecond, where `logging.info` costs nine). `Log.info` and its sisters take loose fields, and
`bridge` brings in whatever speaks stdlib logging or structlog, user code included.
"""

import re
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from switchgear.telemetry.settings import Level

__all__ = ["RANKS", "Form", "Log", "console_line", "json_line", "trace_of"]

RANKS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOURS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31"}
_MILLIS: Final = tuple(f"{milli:03d}Z" for milli in range(1000))
_HEAD: Final = ("at", "level", "process", "event")
# What strangers wrote may stand in a line, and a terminal obeys control characters: all are shown
# by their numbers, save tabs and line breaks.
_TAMED: Final = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


def _unknown(value: Any) -> str:
    """Show what msgspec cannot encode: a log line never fails because of what is in it."""
    return repr(value)


_written: Final = msgspec.json.Encoder(enc_hook=_unknown).encode
# Those of them that JSON leaves as they are, and what some take for the end of a line.
_LEFT: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


def _encode(value: Any) -> bytes:
    """Encode a value as JSON that neither commands a terminal nor looks like two lines."""
    line = _written(value)
    if line.isascii() and b"\x7f" not in line:  # as nearly all are
        return line
    return _LEFT.sub(lambda found: rb"\u%04x" % ord(found[0].decode()), line)


Form = Callable[[Any], bytes]
"""Turns an event, a struct or a mapping, into one line without its newline."""


def json_line(event: Any) -> bytes:
    """Encode an event as one JSON line."""
    try:
        try:
            return _encode(event)
        except UnicodeEncodeError:  # half a surrogate, as the names of files may have it
            plain = msgspec.to_builtins(event, enc_hook=_unknown, str_keys=True)
            return _encode(_readable(plain))
    except (TypeError, ValueError, RecursionError) as error:  # a key that is no text
        return _encode({"level": "error", "event": "unloggable", "why": str(error)})


def _readable(value: Any) -> Any:
    """Copy plain values with a question mark for whatever UTF-8 cannot say."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_readable(key): _readable(member) for key, member in value.items()}
    return [_readable(member) for member in value] if isinstance(value, list) else value


def console_line(event: Any) -> bytes:
    """Write an event for a person: time, level, process, event, and the rest as `key=value`."""
    fields: Mapping[str, Any] = msgspec.to_builtins(event, enc_hook=_unknown, str_keys=True)
    level = str(fields.get("level", "info"))
    clock = str(fields.get("at", ""))[11:23]
    colour = _COLOURS.get(level, "0")
    head = f"{clock} \x1b[{colour}m{level:<7}\x1b[0m {fields.get('process', '')!s:<10} "
    rest = [str(fields.get("event", "")).translate(_TAMED).replace("\n", "\\n")]
    tail = ""
    for key, value in fields.items():
        if key in _HEAD or value is None or value == "":
            continue
        text = value if isinstance(value, str) else _encode(value).decode()
        text = text.translate(_TAMED)
        if "\n" in text:  # indented: no part of it can be taken for a line of its own
            tail += "\n    " + text.rstrip("\n").replace("\n", "\n    ")
        else:
            rest.append(f"\x1b[2m{key}=\x1b[0m{text}")
    return (head + " ".join(rest) + tail).encode("utf-8", "replace")


def trace_of(error: BaseException) -> str:
    """Return the traceback of an error as text."""
    return "".join(traceback.format_exception(error))


class Log:
    """The log of one process: a level below which nothing is written, a form, and a writer."""

    def __init__(
        self,
        writer: Any,
        process: str,
        *,
        level: Level = "info",
        form: Form = json_line,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.writer: Any = writer  # a `LogWriter`, or what takes lines as one does
        self.process = process
        self.rank = RANKS[level]
        self.json = form is json_line
        self._form = form
        self._wall = wall
        self._second = self._milli = -1
        self._prefix = self._stamp = ""

    def stamp(self) -> str:
        """Return the present instant as RFC 3339 in UTC, to the millisecond."""
        milli = int(self._wall() * 1000)
        if milli == self._milli:
            return self._stamp
        second = milli // 1000
        if second != self._second:  # formatting a date costs more than the rest of the line
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
            self._second = second
        self._milli = milli
        self._stamp = self._prefix + _MILLIS[milli - second * 1000]
        return self._stamp

    def event(self, event: Any) -> None:
        """Write one finished event, whose own fields say when, what and how grave."""
        self.writer.put(self._form(event))

    def line(self, line: bytes) -> None:
        """Write one finished line, without its newline: JSON, where `json` says so."""
        self.writer.put(line)

    def write(self, level: Level, event: str, /, **fields: Any) -> None:
        """Write one event of loose fields, unless its level is too low."""
        if RANKS[level] >= self.rank:
            head = {"at": self.stamp(), "level": level, "process": self.process, "event": event}
            self.writer.put(self._form(head | fields))

    def debug(self, event: str, /, **fields: Any) -> None:
        """Write what only somebody searching needs."""
        self.write("debug", event, **fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Write what happened."""
        self.write("info", event, **fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Write what somebody should look at."""
        self.write("warning", event, **fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Write what went wrong."""
        self.write("error", event, **fields)

    def failed(self, event: str, error: BaseException, /, **fields: Any) -> None:
        """Write what went wrong, with the traceback of `error`."""
        self.write("error", event, exception=trace_of(error), **fields)
