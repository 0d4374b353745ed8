"""A gateway of a drill's own, in a process of its own: with TLS on either side, if wanted.

`python tests/drills/front.py --upstream ADDRESS --upstream ADDRESS [--tls FILE] [--ca FILE]`. Door,
server, lanes and pools are those of every gateway, and together as there; the routes are `/0`, `/1`
and so on, all of them public, and all to one service of the given processes.
"""

import argparse
import asyncio
import random
import socket
import ssl
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from switchgear.assembly.control import ControlServer
from switchgear.assembly.kernel import allow_descriptors
from switchgear.assembly.running import freeze, loop_factory
from switchgear.drills.process import announce, until_told
from switchgear.gateway.door import Door
from switchgear.gateway.onward import Trust
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Member, Upstream
from switchgear.http.memo import AnswerMemo
from switchgear.http.pool import Pool, deadline_line
from switchgear.http.room import Room
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ClientSettings, ServerSettings, TlsSettings
from switchgear.http.splice import PIPES
from switchgear.http.tls import client_context
from switchgear.policy.shedder import Shedder, ShedderSettings

ROUTES: Final = 1200  # so many that few of them have bad luck enough to have a breaker opened
_PERMITS: Final = 20  # at each process: most requests find a connection that others have used


class Front:
    """What there is to be asked."""

    def __init__(self, given: argparse.Namespace) -> None:
        settings = GatewaySettings(attempts=2, endpoint_permits=_PERMITS)
        client = ClientSettings(body_timeout=5.0)
        room, memo = Room(client.connections_in_all), AnswerMemo()
        secure = client_context(TlsSettings(ca_file=given.ca)) if given.ca else None
        self.pools: list[Pool] = []

        def connect(name: str, address: str) -> Pool:
            kind, _, where = address.partition(":")
            host, _, port = where.rpartition(":")
            path = where if kind == "unix" else None
            pool = Pool(
                host if path is None else "", int(port) if path is None else 0, client,
                path=path, name=name, stamp=deadline_line, tls=secure, room=room, memo=memo,
            )  # fmt: skip
            self.pools.append(pool)
            return pool

        self.upstream = Upstream("unruly", settings, connect, random=random.random)
        self.upstream.update(
            Member(f"unruly-{number}", address, 1, True)
            for number, address in enumerate(given.upstream)
        )
        door = Door(
            [RouteEntry("*", f"/{number}", "unruly", public=True, prefix=True)
             for number in range(ROUTES)],
            {"unruly": self.upstream},
            Trust(lambda _: None, _never, lambda *_: "token"),
            settings,
            local={},
            # What others on the machine take is nobody's overload.
            shedder=Shedder("shedder", ShedderSettings(begin=100, full=200)),
        )  # fmt: skip
        self.server = Server(
            door.handler,
            ServerSettings(splice_bytes=given.splice, drain_grace=5.0),
            drive=Drive.EAGER,
            intake=door.intake,
            run=door.run,
            problem=door.problem,
        )
        self.server.full = door.full()
        self.unhandled: list[str] = []

    def unwell(self, _: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        """Keep what nobody has handled."""
        self.unhandled.append(f"{told.get('message')}: {told.get('exception')!r}")

    async def figures(self, _: Any) -> Any:
        """Return what is held now, and what was counted."""
        told = self.upstream.statistics()
        endpoints = list(told["endpoints"].values())
        retired: Counter[str] = Counter()
        for pool in self.pools:
            retired += pool.counters.retired
        return {
            "connections": self.server.census.total,
            "sessions": self.server.census.sessions.total,
            "in_use": sum(pool.statistics()["in_use"] for pool in self.pools),
            "idle": sum(pool.statistics()["idle"] for pool in self.pools),
            "permits": sum(one["out"] for one in endpoints),
            "queued": sum(one["waiting"] for one in endpoints),
            "pipes": PIPES.open,
            "tasks": len(asyncio.all_tasks()),
            "spliced": self.server.counters.spliced,
            "defects": self.server.counters.defects,
            "requests": self.server.counters.requests,
            "poisoned": sum(pool.counters.poisoned for pool in self.pools),
            "stale": sum(pool.counters.stale for pool in self.pools),
            "retired": retired,
            "refusals": self.server.counters.refusals,
            "unhandled": self.unhandled,
        }


async def _never(_: str) -> Any:
    raise AssertionError("a public route asks for no token")


async def serve(given: argparse.Namespace) -> int:
    """Be a gateway until told to end; return 0 where all could be answered then."""
    front = Front(given)
    asyncio.get_running_loop().set_exception_handler(front.unwell)
    tls = None
    if given.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(given.tls)
    sock = socket.create_server(("127.0.0.1", 0))
    await front.server.start(sock, tls=tls)
    freeze()
    with tempfile.TemporaryDirectory() as folder:
        control = ControlServer(Path(folder) / "control", {"figures": front.figures})
        await control.start()
        announce(port=front.server.port, control=str(Path(folder) / "control"))
        await until_told(attached="--attached" in sys.argv)
        await control.stop()
    clean = await front.server.drain(20.0)
    await front.upstream.close()
    return 0 if clean else 1


def main() -> None:
    """Run one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", action="append", default=[])
    parser.add_argument("--tls", default="")
    parser.add_argument("--ca", default="")
    parser.add_argument("--splice", type=int, default=128 << 10)
    parser.add_argument("--attached", action="store_true")
    allow_descriptors()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        sys.exit(runner.run(serve(parser.parse_args())))


if __name__ == "__main__":
    main()
