"""One seat in the system ("service-1"): started, heard, judged, drained, and filled again."""

import asyncio
from collections.abc import Mapping
from functools import partial
from math import inf
from pathlib import Path
from typing import Final, Protocol

from switchgear.assembly import events
from switchgear.assembly.failures import CLEAN
from switchgear.assembly.heartbeat import Health, Pulse
from switchgear.assembly.messages import (
    Beat,
    Degraded,
    Drain,
    Failed,
    Feed,
    Loaded,
    Ready,
    RoleSpec,
    Start,
    Upward,
)
from switchgear.assembly.process import Process
from switchgear.assembly.restart import Restarts
from switchgear.assembly.settings import Supervision
from switchgear.assembly.spawn import Spawned
from switchgear.assembly.stacks import standing
from switchgear.assembly.status import Figures, Row
from switchgear.assembly.topology import Endpoint, State, Topology

__all__ = ["Keeper", "Member"]

_FAREWELL: Final = 0.5  # seconds of a drain in which a process tells what it had to cut, and ends


class Keeper(Protocol):
    """What a member needs of the supervisor that keeps it."""

    @property
    def timings(self) -> Supervision: ...

    def now(self) -> float: ...

    def chance(self) -> float: ...

    def observe(self, event: events.Event) -> None: ...

    def spawn(self, member: "Member") -> Spawned: ...

    def offers(self, spec: RoleSpec) -> Mapping[str, str] | None:
        """Return what the role gets of the auxiliaries, or None while they are being started."""
        ...

    def changed(self) -> None:
        """Publish the topology, which this member's state is a part of."""
        ...

    def refused(self, member: "Member", failed: Failed) -> bool:
        """Take note that a member cannot start; return whether it shall be tried again."""
        ...


class Member:
    """A seat, and the process that holds it now, if any."""

    def __init__(self, spec: RoleSpec, index: int, keeper: Keeper) -> None:
        self.spec = spec
        self.index = index
        self.label = f"{spec.name}-{index}"
        self.state = State.DOWN
        self.generation = 0
        self.unclean = False  # asked to drain, it was killed or failed
        self.gone = asyncio.Event()  # it ended for good
        self._keeper = keeper
        self._restarts = Restarts(keeper.timings)
        self._process: Process | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._replacing = False
        self._last = ""
        self._described = -inf  # when it was last told where its loop stands
        self._begin()

    @property
    def pid(self) -> int:
        """The process, 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    @property
    def endpoint(self) -> Endpoint:
        """How the others see it."""
        return Endpoint(
            self.spec.name,
            self.index,
            self._address,
            self.state,
            self.generation,
            self._reasons,
        )

    def row(self) -> Row:
        """Return what there is to tell."""
        return Row(
            self.label,
            self.spec.name,
            self.state,
            self.pid,
            self._restarts.total,
            self._keeper.now() - self._since if self.pid else 0.0,
            self._figures,
            (
                *self._reasons,
                *([f"blocked at {Path(self._blocked).name}"] if self._blocked else ()),
            ),
            self._last,
        )

    def start(self) -> None:
        """Start a process; when even that fails, it counts as a death."""
        self._begin()
        self._replacing = False
        self.generation += 1
        try:
            spawned = self._keeper.spawn(self)
        except OSError as error:
            self._dead(0, f"could not be started: {error}", "")
            return
        self._process = Process(spawned, self._take, self._hear, self._keeper.timings.dump)
        self._become(State.STARTING)
        self._keeper.observe(events.Spawned(self.label, self.pid, self.generation))

    def go_on(self) -> None:
        """Let a loaded process run its body, if the auxiliaries are up."""
        offers = self._keeper.offers(self.spec)
        if self._loaded and offers is not None and self._process is not None:
            self._process.put(Start(dict(offers)))

    def feed(self, topology: Topology) -> None:
        """Tell the process who serves."""
        if self._process is not None:
            self._process.put(Feed(topology))

    def check(self, now: float, absence: float) -> None:
        """Judge its silence; `absence` is how long the supervisor itself was away."""
        if self._process is None or self._ending:
            return
        self._pulse.forgive(absence)
        health, silent = self._pulse.judge(now), self._pulse.silence(now)
        if health is not Health.WELL and self.state is State.READY:
            self._keeper.observe(events.Unroutable(self.label, self.pid, silent))
            self._become(State.UNROUTABLE)
            if now >= self._described + self._keeper.timings.hung:
                self._process.describe(partial(self._blocks, self.pid))
        if health is Health.HUNG:
            pid = self.pid
            self._process.put_down(
                lambda stacks: self._keeper.observe(events.Hung(self.label, pid, silent, stacks))
            )

    def drain(self, within: float) -> None:
        """Ask the process to finish and end, and start it no more."""
        self._ending = True
        self._cancel()
        if self._process is None:
            self.gone.set()
        else:
            # Nobody else listens at its port when it has gone, as when it is replaced.
            after = self._keeper.timings.lame_duck if self.spec.public else 0.0
            self._ask(self._process, within, after)

    def replace(self, within: float) -> None:
        """Let the process finish and end, and fill the seat again at once."""
        self._cancel()
        if self._process is None:
            self.start()
            return
        self._replacing = True
        self._ask(self._process, within)
        self._timer = asyncio.get_running_loop().call_later(within, self._process.kill)

    def kill(self) -> None:
        """End the process now."""
        if self._process is not None:
            self._process.kill()

    def reap(self) -> None:
        """Look whether the process has ended."""
        death = self._process.reap() if self._process is not None else None
        if death is not None:
            pid, self._process = self.pid, None
            self._dead(pid, *death)

    def _begin(self) -> None:
        self._loaded = self._refused = False
        self._address = ""
        self._reasons: tuple[str, ...] = ()
        self._blocked = ""  # where its loop stands while it is silent
        self._figures = Figures()
        self._since = self._beat_at = self._keeper.now()
        self._well_since = inf
        self._pulse = Pulse(self._keeper.timings, self._since)

    def _ask(self, process: Process, within: float, after: float = 0.0) -> None:
        self._become(State.DRAINING)
        if self._loaded:
            # Less than it is given until it is killed: else nothing tells what was cut.
            within -= min(_FAREWELL, within / 5)
            process.put(Drain(within - after, after))
        else:
            process.terminate()

    def _blocks(self, pid: int, stacks: str) -> None:
        """Take what a silent process is doing; one that was stopped, and goes on, is doing well."""
        if self.state is not State.UNROUTABLE or pid != self.pid:
            return
        self._described = now = self._keeper.now()
        self._blocked = at = standing(stacks)
        silent = self._pulse.silence(now)
        self._keeper.observe(events.Blocked(self.label, pid, silent, at, stacks))

    def _hear(self, text: str) -> None:
        self._keeper.observe(events.Output(self.label, text))

    def _take(self, message: Upward) -> None:
        now = self._keeper.now()
        self._pulse.beat(now)
        if isinstance(message, Beat):
            self._count(message, now)
        elif isinstance(message, Loaded):
            self._loaded = True
            self.go_on()
        elif isinstance(message, Ready):
            self._ready(message.address, now)
        elif isinstance(message, Degraded):
            self._reasons = message.reasons
            self._keeper.observe(events.Degradation(self.label, message.reasons))
            self._keeper.changed()
        elif isinstance(message, Failed):
            self._refused = not self._keeper.refused(self, message)
        if self.state is State.UNROUTABLE:
            self._blocked = ""
            self._keeper.observe(events.Routable(self.label, self.pid))
            self._become(State.READY)

    def _count(self, beat: Beat, now: float) -> None:
        passed = now - self._beat_at
        grown = beat.requests - self._figures.requests
        rate = max(0.0, grown / passed) if passed > 0 else 0.0
        self._beat_at = now
        self._figures = Figures(beat.resident_bytes, beat.cpu, beat.requests, rate, beat.lag)

    def _ready(self, address: str, now: float) -> None:
        self._pulse.ready = True
        self._well_since = min(self._well_since, now)
        self._address = address
        if self.state is State.STARTING:
            self._keeper.observe(events.ProcessReady(self.label, self.pid, now - self._since))
            self._become(State.READY)

    def _become(self, state: State) -> None:
        self.state = state
        self._keeper.changed()

    def _dead(self, pid: int, how: str, stacks: str) -> None:
        now = self._keeper.now()
        uptime, well = now - self._since, now - min(now, self._well_since)
        wanted, loaded = self._ending or self._replacing, self._loaded
        self._last = how
        self._cancel()
        self._reasons, self._figures, self._blocked = (), Figures(), ""
        self._keeper.observe(events.Ended(self.label, pid, how, uptime, wanted, stacks))
        self._become(State.DOWN)
        if self._ending:
            # One that was still importing had nothing to finish, and ends by our SIGTERM.
            self.unclean = loaded and how != CLEAN
            self.gone.set()
        elif self._replacing:
            self.start()
        elif not self._refused:
            delay = self._restarts.delay(well, self._keeper.chance())
            self._keeper.observe(events.Restarting(self.label, delay, self._restarts.row))
            self._timer = asyncio.get_running_loop().call_later(delay, self.start)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
