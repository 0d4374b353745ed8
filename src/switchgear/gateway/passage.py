"""Passages: what the gateway notes on one request's way, beside what every stack writes."""

from typing import Any, Final

from switchgear.identity.internal import Vouched
from switchgear.identity.tokens import Verified
from switchgear.policy.call import Call
from switchgear.policy.native import native
from switchgear.policy.trail import Trail

__all__ = ["NOBODY", "Passage", "passage_of"]

NOBODY: Final = Vouched()


@native(free_list_len=1)
class Passage(Trail):
    """The trail of a request: how it was routed, its id, and whom we vouch for.

    Found out once, at the door; `way` is where the router says it leads. `verified` is
    what its token says, once that is known, and `sent` the attempt that the express way has made.
    """

    __slots__ = ("request_id", "sent", "verified", "vouched", "way")

    def __init__(self, route: str, way: Any, request_id: str) -> None:
        super().__init__(route)
        self.way = way
        self.request_id = request_id
        self.vouched = NOBODY
        self.verified: Verified | None = None
        self.sent: Any = None


def passage_of(call: Call[Any]) -> Passage:
    """Return the passage of a call that came in by the door."""
    trail = call.trail
    assert isinstance(trail, Passage)  # noqa: S101 - the door's intake made it
    return trail
