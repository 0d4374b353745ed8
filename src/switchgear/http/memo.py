"""Memos: heads that came before, byte for byte, need not be read again.

To compare bytes costs a tenth of reading them, and what is the same was read the same: strictness
loses nothing. They are few and short, so that nobody can fill our memory with theirs.
"""

from typing import Final

from switchgear.http.head import ResponseHead
from switchgear.http.heads import read_response

__all__ = ["AnswerMemo"]

_BYTES: Final = 1024
_HEADS: Final = 32


class AnswerMemo:
    """The heads that an upstream has answered with lately, `most` of them.

    Within a second (for the sake of Date) many are the same, and those of the processes of one
    service are: let their pools share one. One that sets a cookie is a single client's, and never
    kept.
    """

    __slots__ = ("_heads", "_last", "_last_read", "_most")

    def __init__(self, most: int = _HEADS) -> None:
        self._heads: dict[bytes, ResponseHead] = {}
        self._most = most
        self._last = b""  # the one that came last: to compare bytes costs less than to hash them
        self._last_read: ResponseHead | None = None

    def read(self, head: bytes, lines: int, method: str) -> ResponseHead:
        """Read a response's head as `read_response` does, or know it."""
        if method == "HEAD":  # the same lines mean another length
            return read_response(head, lines, method)
        if self._last_read is not None and head == self._last:
            return self._last_read
        known = self._heads.get(head)
        if known is not None:
            self._last, self._last_read = head, known
            return known
        read = read_response(head, lines, method)
        if read.status >= 200 and len(head) <= _BYTES and "set-cookie" not in read.headers:
            if len(self._heads) >= self._most:
                self._heads.clear()
            self._heads[head] = read
        return read
