"""What every transport without a network has in common."""

import asyncio
from typing import Any, cast

from switchgear.http.spoken import Speaker

__all__ = ["Transport"]


class Transport(asyncio.Transport):
    """A transport of `protocol` that knows whether it is read, and whether it is closed."""

    def __init__(self, protocol: Speaker) -> None:
        super().__init__()
        self.protocol = protocol
        self.reading = True
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast("Speaker", protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else default
