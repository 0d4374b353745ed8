"""What a server shows its observer of each exchange."""

from switchgear.http.message import Request
from switchgear.policy.call import Call
from switchgear.policy.native import native

__all__ = ["Exchanged"]


@native(free_list_len=1)
class Exchanged:
    """One exchange has ended. `elapsed` runs from the head's arrival to the last byte, in seconds.

    `left` says that the client did not stay for the end, `cut` that we could not complete the
    body. `fault` is the code of the fault that was answered, `reason` its token.
    """

    __slots__ = ("call", "cut", "detail", "elapsed", "fault", "left", "reason", "sent", "status")

    def __init__(
        self,
        call: Call[Request],
        status: int,
        sent: int,
        elapsed: float,
        fault: str = "",
        detail: str = "",
        reason: str = "",
        left: bool = False,
        cut: bool = False,
    ) -> None:
        self.call = call
        self.status = status
        self.sent = sent
        self.elapsed = elapsed
        self.fault = fault
        self.detail = detail
        self.reason = reason
        self.left = left
        self.cut = cut
