"""What an answer may not say of its own framing, beyond what its head alone can show.

These are looked at only for answers of the rarer kinds: without a body, until the connection
closes, or not here yet. Source: RFC 9112 sections 6.1, 6.3 and 9.3, RFC 9110 section 8.6.
"""

import re
from typing import Final

from switchgear.http.heads import UNTIL_CLOSE, ResponseHead
from switchgear.http.refusals import refuse

__all__ = ["check_bare", "check_start"]

_START: Final = b"HTTP/1."
_BARE_BREAK: Final = re.compile(rb"(?<!\r)\n")


def check_start(buffer: bytes) -> None:
    """Check what has come of a head so far.

    Raises Fault when it can never become one: there is no need to wait for the rest.
    """
    if buffer[:7] != _START[: len(buffer)]:
        raise refuse("status-line", f"no answer begins with {buffer[:7]!r}")
    if _BARE_BREAK.search(buffer):
        raise refuse("line-break", "a line of the head ends without CR")


def check_bare(head: ResponseHead) -> None:
    """Check the head of an answer without a body, or of one that ends with the connection.

    A 1xx or a 204 that announces a body would be read in two ways. An answer may last until the
    connection closes where closing it was announced (or HTTP/1.0, where it goes without saying):
    else it has merely lost its framing.

    Raises Fault for either.
    """
    field = head.headers.get
    if head.status < 200 or head.status == 204:
        if field("transfer-encoding") is not None or field("content-length", "0") != "0":
            raise refuse("bodiless", f"an answer {head.status} announces a body")
        return
    stays = head.minor == 1 and "close" not in head.headers.tokens("connection")
    if stays and head.length == UNTIL_CLOSE:
        raise refuse("no-framing", "an answer of unknown length on a connection that stays")
