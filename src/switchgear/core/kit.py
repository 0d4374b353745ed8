"""The kit: what every frame of one stack shares."""

import asyncio

from switchgear.core.clock import FINE, Clock
from switchgear.core.handler import Judge
from switchgear.core.observe import Event, Observer, report
from switchgear.core.sweep import Sweep, sweep_of

__all__ = ["Kit"]


class Kit:
    """The name of a stack, whom it tells, how it judges values, its clock, and its sweep."""

    __slots__ = ("_here", "clock", "judge", "name", "observe")

    def __init__(
        self,
        name: str,
        observe: Observer | None = None,
        judge: Judge | None = None,
        clock: Clock = FINE,
    ) -> None:
        self.name = name
        self.observe = observe
        self.judge = judge
        self.clock = clock
        self._here: tuple[asyncio.AbstractEventLoop, Sweep] | None = None

    def sweep(self, loop: asyncio.AbstractEventLoop) -> Sweep:
        """Return the sweep of the running loop."""
        here = self._here  # read once: another thread may run another loop
        if here is None or here[0] is not loop:
            here = self._here = (loop, sweep_of(loop, self.clock))
        return here[1]

    def tell(self, event: Event) -> None:
        """Show an event to the observer, whose defects are not the call's."""
        if self.observe is not None:
            try:
                self.observe(event)
            except Exception as error:  # noqa: BLE001 - see above
                report(event, error)
