"""The answer to bytes that are no request."""

from typing import TYPE_CHECKING, Final

from switchgear.http.headers import Headers
from switchgear.http.refusals import reason_of
from switchgear.http.status import LINES, line, sized
from switchgear.policy.fault import Fault

if TYPE_CHECKING:
    from switchgear.http.server import Server

__all__ = ["turned"]

_CLOSE: Final = b"connection: close\r\n"


def turned(server: "Server", peer: str, fault: Fault, headers: Headers, *, bodiless: bool) -> bytes:
    """Return the answer to bytes that are no request, and tell the observer.

    `headers` are those of a head that was read all the same, as where its body is too large.
    `bodiless` says that they began like HEAD: what stands behind a head would be read as another.
    """
    answer = server.answer(fault, headers)
    server.refused(peer, reason_of(fault), answer.status, fault.detail)
    head = (LINES.get(answer.status) or line(answer.status)) + answer.headers.wire()
    head += server.date(server.clock()) + _CLOSE
    head += sized(len(answer.body))
    return head if bodiless else head + bytes(answer.body)
