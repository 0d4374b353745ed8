"""The users' app as a service's process hosts it: routed, bound, under its deadline, counted.

All of `switchgear run service` in its default configuration but for its database, which this app
does not use, and the gateway's token, which no load generator makes.
"""

import asyncio
import socket
import sys

from bench._apps.users.app import app
from switchgear.assembly.bodies.serving import request_metrics
from switchgear.assembly.routes import SERVICE
from switchgear.assembly.running import freeze, loop_factory
from switchgear.assembly.settings import Settings
from switchgear.http.server import Drive, Server
from switchgear.services.host import Host
from switchgear.services.providers import http_providers
from switchgear.telemetry.metrics import Registry


async def main() -> None:
    settings = Settings().http
    host = Host(
        SERVICE,
        app.endpoints,
        tables=None,
        providers=http_providers(),
        title=app.name,
        body_bytes=settings.body_bytes,
    )
    server = Server(host, settings, drive=Drive.PARKED, observer=request_metrics(Registry()))
    await server.start(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096))
    freeze()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
