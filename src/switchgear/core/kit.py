"""The kit: what every frame of one stack shares."""

import asyncio
import os
from collections.abc import Callable
from threading import get_ident
from typing import Final
from weakref import WeakMethod, WeakSet

from switchgear.core.clock import FINE, Clock, present
from switchgear.core.drivers import working
from switchgear.core.handler import Judge, Translate
from switchgear.core.here import HERE
from switchgear.core.misplaced import Misplaced
from switchgear.core.observe import Event, Observer, report
from switchgear.core.place import Place
from switchgear.core.sweep import Sweep, sweep_of

__all__ = ["BACKGROUND", "NOWHERE", "Desk", "Kit"]

BACKGROUND: Final["WeakSet[asyncio.AbstractEventLoop]"] = WeakSet()
"""The loops of portals, which leave a policy to the loop of an app."""


class Desk:
    """Where a frame works: the process, the place of the thread, its loop, that one's sweep.

    There is no sweep where there is no loop.
    """

    __slots__ = ("loop", "place", "process", "sweep")

    def __init__(
        self,
        process: int,
        place: Place,
        loop: asyncio.AbstractEventLoop | None = None,
        sweep: Sweep | None = None,
    ) -> None:
        self.process = process
        self.place = place
        self.loop = loop
        if sweep is not None:
            self.sweep = sweep

    def let_go(self) -> None:
        """Keep nothing of a loop that was closed, maybe amid calls: they hold places till freed."""
        if self.loop is not None and self.loop.is_closed():
            self.loop = None
            self.place = _NOBODY
            self.sweep.clear()


_NOBODY: Final = Place(-1)
NOWHERE: Final = Desk(-1, _NOBODY)
"""Before the first call: no thread has this number."""


class Kit:
    """The name of a stack, whom it tells, how it judges values, its clock, and its sweep.

    `policy`: it is that of a policy, all of whose gates stand before one dependency. `moving` is
    called when it goes to another loop, as long as somebody else holds that.
    """

    __slots__ = ("_desk", "clock", "judge", "moving", "name", "observe", "policy",
                 "translate")  # fmt: skip

    def __init__(
        self,
        name: str,
        observe: Observer | None = None,
        judge: Judge | None = None,
        clock: Clock = FINE,
        translate: Translate | None = None,
        policy: bool = False,
    ) -> None:
        self.name = name
        self.observe = observe
        self.judge = judge
        self.clock = clock
        self.translate = translate
        self.policy = policy
        self.moving: WeakMethod[Callable[[], None]] | None = None
        self._desk = NOWHERE

    def desk(self, *, lodging: bool = False) -> Desk:
        """Return the desk of whoever asks.

        `lodging`: a call that had begun here may end here, though an app's loop has come by now, to
        which the policy was left.

        Raises:
            RuntimeError: nothing drives them.
            Misplaced: they are on a second loop beside that of another thread, or in another time.
        """
        loop = working().get_loop()
        desk = self._desk  # read once: another thread may run another loop
        if desk.loop is not loop or desk.place.thread != get_ident():
            lodging = lodging and loop in BACKGROUND
            if not lodging:
                self._check(loop)
            desk = Desk(os.getpid(), HERE.place, loop, sweep_of(loop, self.clock))
            if not lodging:
                self._desk.let_go()
                self._desk = desk
                told = None if self.moving is None else self.moving()
                if told is not None:
                    told()
        return desk

    def let_go(self) -> None:
        """Go on from a loop that was closed, whatever the calls hold that it was closed amid."""
        loop = self._desk.loop
        if loop is not None and loop.is_closed():
            self.desk()

    @property
    def home(self) -> asyncio.AbstractEventLoop | None:
        """The loop that it was last used on, where that runs now (a fork has no loop running)."""
        loop = self._desk.loop
        if loop is None or self._desk.process != os.getpid() or not loop.is_running():
            return None
        return loop

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        home = self.home
        if home is not None and self._desk.place.thread != get_ident() and home not in BACKGROUND:
            raise Misplaced(
                f"{self.name!r} is in use on the event loop of another thread, and its counts are"
                " not for two at once: call 'run' in this thread, or make another policy"
            )
        if self.clock is FINE and present(loop) is not FINE:
            raise Misplaced(
                f"{self.name!r} tells real time, and this loop a virtual one: make it with"
                " clock=switchgear.testing.clock, or use switchgear.testing.overridden"
            )

    def sweep(self, loop: asyncio.AbstractEventLoop) -> Sweep:
        """Return the sweep of a loop."""
        desk = self._desk
        return desk.sweep if desk.loop is loop else sweep_of(loop, self.clock)

    def tell(self, event: Event) -> None:
        """Show an event to the observer, whose defects are not the call's."""
        if self.observe is not None:
            try:
                self.observe(event)
            except Exception as error:  # noqa: BLE001 - see above
                report(event, error)
