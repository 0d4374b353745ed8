"""The supervisor: starts every role as a process of its own, and sees to it that they live.

It serves no request. It holds the public socket, so that a dead gateway takes no connection
attempt along; it hears every process once a second; it tells everybody who can be reached; it
starts again what died and kills what hangs; and it ends all of it in order.
"""

import asyncio
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from switchgear.assembly import events
from switchgear.assembly.control import ControlServer
from switchgear.assembly.drain import drain
from switchgear.assembly.failures import StartError
from switchgear.assembly.keeping import Kept
from switchgear.assembly.member import Member
from switchgear.assembly.messages import Boot, Failed, RoleSpec
from switchgear.assembly.office import answers
from switchgear.assembly.roles import Companion, Plan
from switchgear.assembly.running import stops
from switchgear.assembly.runtime import MARK, Runtime
from switchgear.assembly.secret import withheld
from switchgear.assembly.settings import Settings, Supervision
from switchgear.assembly.spawn import Spawned, environment, spawn
from switchgear.assembly.status import Status
from switchgear.assembly.target import Target
from switchgear.assembly.topology import State, Topology

__all__ = ["Outlet", "Site", "Supervisor"]


class Outlet(NamedTuple):
    """Where roles log: to a descriptor above 2, or in `folder`; `capture` what they print.

    `trouble` says what keeps the supervisor's own log from being written, if anything does.
    """

    log: int
    folder: str = ""
    capture: bool = False
    trouble: Callable[[], str] = str


class Site(NamedTuple):
    """What a supervisor stands on. `patient`: an application that fails to load may be repaired."""

    runtime: Runtime
    outlet: Outlet
    listeners: tuple[socket.socket, ...] = ()
    target: Target | None = None
    url: str = ""
    admin: str = ""
    patient: bool = False


class Supervisor:
    """One running system, from its first spawn to its drained end."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        site: Site,
        observer: events.Observer,
        *,
        clock: Callable[[], float] = time.perf_counter,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.site = site
        self.observe = observer
        self.now = clock
        self.chance = chance
        self.companions: list[Companion] = []
        self._settings = settings
        self._boot_settings = msgspec.Raw(msgspec.json.encode(withheld(settings)))
        self._boot_key = secrets.token_bytes(32)
        self._environ = environment(os.environ, MARK, site.runtime.boot)
        self._began = clock()
        self.members = [
            Member(spec, index, self) for spec in plan.roles for index in range(1, spec.count + 1)
        ]
        self.kept = [Kept(one, self) for one in plan.auxiliaries]
        self._offers: dict[str, str] | None = None
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._why = ""
        self._failure: StartError | None = None
        self._ready = False
        self._version = 0
        self._publishing = False
        self._control: ControlServer
        self._homeless = False

    @property
    def timings(self) -> Supervision:
        """When a process counts as late, as hung, as stable."""
        return self._settings.supervisor

    async def run(self) -> int:
        """Run until stopped; return the exit code: 0 when everything ended by itself in time.

        Raises:
            StartError: the system could not be started at all.
        """
        loop = asyncio.get_running_loop()
        for number in stops():
            loop.add_signal_handler(number, self.stop, number.name)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        self._control = self._new_control()
        await self._control.start()
        left = self.site.runtime.end_leftovers()
        if self.site.runtime.previous is not None:
            self.observe(events.Recovered(left))
        for member in self.members:
            member.start()
        tending = loop.create_task(self._tend())
        starting = loop.create_task(self._start_others())
        await self._stopping.wait()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        unclean = await self._end()
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        await self._control.stop()
        if self._failure is not None:
            raise self._failure
        return 1 if unclean else 0

    def stop(self, why: str) -> None:
        """Begin the ordered end; asked a second time, end everything at once."""
        if self._stopping.is_set():
            self._hurry.set()
        self._why = self._why or why
        self._stopping.set()

    def replace(self, label: str | None = None) -> list[str]:
        """Give one seat, or every seat, a fresh process; return which: none while all ends."""
        if self._stopping.is_set():
            return []
        chosen = [one for one in self.members if label in (None, one.label)]
        for member in chosen:
            member.replace(self.timings.drain)
        return [member.label for member in chosen]

    def status(self) -> Status:
        """Return the whole system at this instant."""
        return Status(
            os.getpid(),
            self.site.url,
            self.site.admin,
            self._ready,
            self._stopping.is_set(),
            self.now() - self._began,
            [member.row() for member in self.members],
            {one.name: one.alive for one in self.kept},
            self._troubles(),
        )

    def _troubles(self) -> dict[str, str]:
        found = {one.name: one.trouble() for one in self.kept}
        found["supervisor"] = self.site.outlet.trouble()
        return {name: words for name, words in found.items() if words}

    def sockets(self) -> dict[str, Path]:
        """Return the control sockets of all processes that live."""
        runtime = self.site.runtime
        return {one.label: runtime.socket(one.label) for one in self.members if one.pid}

    def spawn(self, member: Member) -> Spawned:
        """Start the process of a seat."""
        runtime, outlet, spec = self.site.runtime, self.site.outlet, member.spec
        listeners = tuple(one.fileno() for one in self.site.listeners) if spec.public else ()

        def boot(dump: int) -> Boot:
            return Boot(
                os.getpid(),
                spec,
                member.index,
                member.generation,
                self._boot_settings,
                self._boot_key,
                app=self.site.target if spec.app else None,
                endpoint=runtime.endpoint(member.label) if spec.serves else "",
                control=str(runtime.socket(member.label)),
                listeners=listeners,
                log=outlet.log,
                logs=outlet.folder,
                dump=dump,
            )

        return spawn(
            boot,
            descriptors=(outlet.log, *listeners),
            environ=self._environ,
            title=member.label,
            capture=outlet.capture,
        )

    def offers(self, spec: RoleSpec) -> Mapping[str, str] | None:
        """Return what a role gets of the auxiliaries, None while they are being started."""
        if self._offers is None or spec.offers is None:
            return self._offers
        return {name: self._offers[name] for name in spec.offers if name in self._offers}

    def changed(self) -> None:
        """Publish the topology soon: what changes in one turn of the loop is told once."""
        if not self._publishing:
            self._publishing = True
            asyncio.get_running_loop().call_soon(self._publish)

    def refused(self, member: Member, failed: Failed) -> bool:
        """Take note that a seat's process cannot start; return whether to try it again.

        Before the system was ever ready this ends it, for the operator is at the keyboard. Later
        (a changed file, a full disk) the others go on and the seat is tried again.
        """
        if not self._ready and not self.site.patient:
            self._failure = self._failure or StartError(failed.sentence, failed.trace)
            self._stopping.set()
            return False
        self.observe(events.LoadFailed(member.label, failed.sentence, failed.trace))
        return not self.site.patient

    def _publish(self) -> None:
        self._publishing = False
        self._version += 1
        topology = Topology(
            self._version, tuple(one.endpoint for one in self.members if one.spec.serves)
        )
        for member in self.members:
            member.feed(topology)
        ready = all(member.state is State.READY for member in self.members)
        if ready and not self._ready and not self._stopping.is_set():
            self._ready = True
            seconds = self.now() - self._began
            self.observe(events.SystemReady(self.site.url, self.site.admin, seconds))

    def _reap(self) -> None:
        for member in self.members:
            member.reap()

    async def _start_others(self) -> None:
        """Start auxiliaries and companions while the roles import their code."""
        try:
            await asyncio.gather(*(one.start() for one in self.kept))
            self.site.runtime.sweep()
            self._offers = {}
            for one in self.kept:
                self._offers.update(one.offers())
            for companion in self.companions:
                await companion.start()
        except StartError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the system cannot start
            self._failure = StartError(f"cannot start: {error}")
        if self._failure is not None:
            self._stopping.set()
            return
        for member in self.members:
            member.go_on()

    async def _tend(self) -> None:
        """Judge every process's silence, a few times per beat."""
        pause = self.timings.beat / 4
        last = self.now()
        while True:
            await asyncio.sleep(pause)
            now = self.now()
            late = now - last - pause
            absence = late if late > self.timings.beat else 0.0  # we were stopped, or starved
            last = now
            for member in self.members:
                member.check(now, absence)
            for one in self.kept:
                one.check()
            if self.site.runtime.lost() and not self._stopping.is_set():
                await self._settle_anew()

    def _new_control(self) -> ControlServer:
        return ControlServer(self.site.runtime.socket("supervisor"), answers(self))

    async def _settle_anew(self) -> None:
        """Give every process a socket again, where somebody has removed all of them."""
        runtime = self.site.runtime
        gone = str(runtime.folder)
        try:
            runtime.renew()
        except (OSError, StartError) as error:
            if not self._homeless:
                self.observe(events.SocketsGone(gone, str(error)))
            self._homeless = True
            return
        self._homeless = False
        self.observe(events.SocketsGone(gone))
        await self._control.stop()
        self._control = self._new_control()
        await self._control.start()
        self.replace()

    async def _end(self) -> list[str]:
        began = self.now()
        self.observe(events.Draining(self._why or "it could not start"))
        # Ours is closed first: the last gateway to close its copy has emptied the queue.
        for listener in self.site.listeners:
            listener.close()
        unclean = await drain(self.members, self.timings, self.now, self._hurry)
        for companion in reversed(self.companions):
            await companion.stop()
        for one in reversed(self.kept):
            try:
                await self._stopped(one)
            except Exception as error:  # noqa: BLE001 - the rest must be stopped all the same
                self.observe(events.AuxiliaryDown(one.name, f"did not stop: {error!r}", 0.0))
                unclean.append(one.name)
        self.observe(events.Stopped(self.now() - began, unclean))
        return unclean

    async def _stopped(self, one: Kept) -> None:
        """Stop an auxiliary within the time of a drain; in a hurry, within the least of it.

        Raises TimeoutError where it takes longer; the next start recovers what it left.
        """
        stopping = asyncio.ensure_future(one.stop())
        hurried = asyncio.ensure_future(self._hurry.wait())
        waited = {stopping, hurried}
        timings = self.timings
        await asyncio.wait(waited, timeout=timings.drain, return_when=asyncio.FIRST_COMPLETED)
        if hurried.done():
            await asyncio.wait({stopping}, timeout=min(timings.drain_least, timings.drain))
        hurried.cancel()
        if not stopping.done():
            stopping.cancel()
            await asyncio.wait({stopping})
            raise TimeoutError
        stopping.result()
