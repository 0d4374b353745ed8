"""Boundaries: where WebSocket frames end in bytes that are passed through and not read.

Source: RFC 6455 section 5.2.
"""

__all__ = ["AT_ONCE", "Boundary"]

AT_ONCE = 512  # frames that are looked at before others get a turn
_CLOSE = 0x8
_LONGEST = 14  # bytes of a frame's head: 2, a length of 8, a mask of 4
_WIDTHS = {126: 2, 127: 8}


class Boundary:
    """Follows one direction of a session: between two frames there is room for one of ours.

    It is `behind` while some of what it took is still to be looked at.
    """

    __slots__ = ("_at", "_behind", "_first", "_head", "_left")

    def __init__(self) -> None:
        self._behind = b""
        self._at = 0  # where it is still to be looked at
        self._first = 0  # byte of the last frame, which has its opcode
        self._head = b""  # of the present frame, while it is incomplete
        self._left = 0  # bytes of its payload that are still to come

    @property
    def here(self) -> bool:
        """Whether no frame is under way."""
        return not self._left and not self._head and not self._behind

    @property
    def behind(self) -> bool:
        """Whether to take nothing, to have more of what came looked at."""
        return bool(self._behind)

    @property
    def closed(self) -> bool:
        """Whether a close frame was the last, and all of it: nothing comes behind one."""
        return self.here and self._first & 0x0F == _CLOSE

    def take(self, data: bytes) -> None:
        """Follow these bytes, past so many frames."""
        at, turns = 0, 0
        if self._behind:
            at = self._at
            data, self._behind = self._behind + data if data else self._behind, b""
        size = len(data)
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                continue
            if turns == AT_ONCE:
                self._behind, self._at = data, at
                return
            turns += 1
            if not self._head and at + 1 < size:  # nearly always; and of small ones there are many
                length = data[at + 1] & 0x7F
                after = at + (6 if data[at + 1] & 0x80 else 2)
                if length < 126 and after <= size:
                    self._first = data[at]
                    at = after + length
                    if at > size:
                        self._left = at - size
                    continue
            head = self._head + data[at : at + _LONGEST - len(self._head)]
            width = _WIDTHS.get(head[1] & 0x7F, 0) if len(head) > 1 else _LONGEST
            whole = 2 + width + (4 if len(head) > 1 and head[1] & 0x80 else 0)
            if len(head) < whole:
                self._head = head
                return
            at += whole - len(self._head)
            self._head = b""
            self._first = head[0]
            self._left = int.from_bytes(head[2 : 2 + width], "big") if width else head[1] & 0x7F
