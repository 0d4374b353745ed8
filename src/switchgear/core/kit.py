"""The kit: what every frame of one stack shares."""

import asyncio
from threading import get_ident
from typing import Final

import msgspec

from switchgear.core.clock import FINE, Clock
from switchgear.core.drivers import Place, here, working
from switchgear.core.handler import Judge, Translate
from switchgear.core.observe import Event, Observer, report
from switchgear.core.sweep import Sweep, sweep_of

__all__ = ["NOWHERE", "Desk", "Kit"]


class Desk(msgspec.Struct, frozen=True):
    """Where a frame works: the thread, what goes on there, its event loop, and that one's sweep."""

    thread: int
    place: Place
    loop: asyncio.AbstractEventLoop | None
    sweep: Sweep | None


NOWHERE: Final = Desk(-1, Place(), None, None)
"""Before the first call: no thread has this number."""


class Kit:
    """The name of a stack, whom it tells, how it judges values, its clock, and its sweep.

    `policy`: it is that of a policy, all of whose gates stand before one dependency.
    """

    __slots__ = ("_desk", "clock", "judge", "name", "observe", "policy", "translate")

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
        self._desk = NOWHERE

    def desk(self) -> Desk:
        """Return the desk of whoever asks. Raises RuntimeError where nothing drives them."""
        loop = working().get_loop()
        desk = self._desk  # read once: another thread may run another loop
        if desk.loop is not loop or desk.thread != get_ident():
            place = here()
            desk = self._desk = Desk(place.thread, place, loop, sweep_of(loop, self.clock))
        return desk

    def sweep(self, loop: asyncio.AbstractEventLoop) -> Sweep:
        """Return the sweep of a loop."""
        desk = self._desk
        sweep = desk.sweep if desk.loop is loop else None
        return sweep_of(loop, self.clock) if sweep is None else sweep

    def tell(self, event: Event) -> None:
        """Show an event to the observer, whose defects are not the call's."""
        if self.observe is not None:
            try:
                self.observe(event)
            except Exception as error:  # noqa: BLE001 - see above
                report(event, error)
