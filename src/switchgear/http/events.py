"""What a server shows its observer of each refusal."""

import msgspec

__all__ = ["Turned"]


class Turned(msgspec.Struct, frozen=True):
    """Something was refused: a connection, or bytes that break a rule, come late or are too many.

    `status` is what was answered, 0 where nothing was. `configured` is the setting that the reason
    hangs on. `peer` is the connection's, nobody's where the system refused us.
    """

    peer: str
    status: int
    reason: str
    detail: str
    configured: float | None = None
