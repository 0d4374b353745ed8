"""What there is one of for each loop, while loops come and go in other threads, too."""

import asyncio

from switchgear.core.per_loop import PerLoop


class Closing(asyncio.SelectorEventLoop):
    """A loop amid whose closing others come and go."""

    def __init__(self, others: "PerLoop[object]", more: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._others = others
        self._more = more

    def is_closed(self) -> bool:
        closed = super().is_closed()
        if closed:
            self._others._kept.pop(self, None)
            self._others._kept[self._more] = object()
        return closed


def test_loops_come_and_go_while_closed_ones_are_forgotten() -> None:
    kept: PerLoop[object] = PerLoop(lambda _: object())
    more, new = asyncio.new_event_loop(), asyncio.new_event_loop()
    closing = Closing(kept, more)
    first = kept.of(closing)
    assert kept.of(closing) is first
    closing.close()
    made = kept.of(new)
    assert kept.of(new) is made
    assert set(kept._kept) == {new, more}
    more.close()
    new.close()


def test_whoever_comes_second_has_what_the_first_has_made() -> None:
    loop = asyncio.new_event_loop()

    def make(_: asyncio.AbstractEventLoop) -> object:
        kept._kept.setdefault(loop, theirs)
        return object()

    theirs = object()
    kept: PerLoop[object] = PerLoop(make)
    assert kept.of(loop) is theirs
    loop.close()
