"""The settings of this room: what is logged, how, and where to."""

from typing import Annotated, Literal

import msgspec

__all__ = ["Level", "LogSettings"]

Level = Literal["debug", "info", "warning", "error"]
Bytes = Annotated[int, msgspec.Meta(ge=4096)]


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is logged, how, and where to.

    `form` and `to` decide by themselves: JSON lines on standard output; for a person's terminal,
    readable lines, and files in the data folder where a live table holds the screen.
    """

    level: Level = "info"
    form: Literal["auto", "json", "console"] = "auto"
    to: Literal["auto", "stdout", "files"] = "auto"
    file_bytes: Bytes = 64 * 1024 * 1024
    bound_bytes: Bytes = 8 * 1024 * 1024
