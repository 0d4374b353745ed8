"""The users' app in FastAPI as a service's process hosts it: mounted, under its deadline, counted.

As `rest_service`, with somebody else's application in place of endpoints. (Its lifespan does
nothing, and is left out.)
"""

from bench._apps.serving import serve
from bench._peers.rest_fastapi import app
from switchgear.assembly.bodies.mounted import Mounts
from switchgear.assembly.bodies.serving import request_metrics
from switchgear.assembly.routes import SERVICE
from switchgear.assembly.settings import Settings
from switchgear.http.defects import log_defect
from switchgear.http.server import Drive, Server
from switchgear.services.endpoint import Mount
from switchgear.services.host import Host
from switchgear.telemetry.metrics import Registry


def hosted() -> Server:
    mounts = [Mount("/", app)]
    mounted = Mounts(log_defect).mounted
    host = Host(SERVICE, [], mounts, tables=None, providers={}, mounted=mounted)
    observer = request_metrics(Registry())
    return Server(host, Settings().http, drive=Drive.PARKED, run=host.run, observer=observer)


if __name__ == "__main__":
    serve(hosted)
