"""The users' app as a service's process hosts it: routed, bound, under its deadline, counted.

All of `switchgear run service` in its default configuration but for its database, which this app
does not use, and the gateway's token, which no load generator makes.
"""

from bench._apps.serving import serve
from bench._apps.users.app import app
from switchgear.assembly.bodies.serving import request_metrics
from switchgear.assembly.routes import SERVICE, declared
from switchgear.assembly.settings import Settings
from switchgear.http.server import Drive, Server
from switchgear.services.host import Host
from switchgear.services.providers import http_providers
from switchgear.telemetry.metrics import Registry


def service() -> Server:
    settings = Settings().http
    host = Host(
        SERVICE,
        declared(app, settings.deadline)[0],
        tables=None,
        providers=http_providers(),
        title=app.name,
        body_bytes=settings.body_bytes,
    )
    return Server(
        host, settings, drive=Drive.PARKED, run=host.run, observer=request_metrics(Registry())
    )


if __name__ == "__main__":
    serve(service)
