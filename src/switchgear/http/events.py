"""What a server shows its observer: one frozen event per exchange, and one per refusal."""

import msgspec

from switchgear.http.message import Request
from switchgear.policy.call import Call

__all__ = ["Exchanged", "Turned"]


class Exchanged(msgspec.Struct, frozen=True):
    """One exchange has ended. `elapsed` runs from the head's arrival to the last byte, in seconds.

    `left` says that the client did not stay for the end, `cut` that we could not complete the
    body. `fault` is the code of the fault that was answered, `reason` its token.
    """

    call: Call[Request]
    status: int
    sent: int
    elapsed: float
    fault: str = ""
    detail: str = ""
    reason: str = ""
    left: bool = False
    cut: bool = False


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
