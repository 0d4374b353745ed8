"""What every server that is measured does: listen where it is told, and go on for ever."""

import asyncio
import socket
import sys
from collections.abc import Callable

from switchgear.assembly.running import freeze, loop_factory
from switchgear.http.server import Server

__all__ = ["serve"]


def serve(make: Callable[[], Server]) -> None:
    """Serve what `make` makes, on a running loop, at the port that is the first argument."""

    async def main() -> None:
        port = int(sys.argv[1])
        await make().start(socket.create_server(("127.0.0.1", port), backlog=4096))
        freeze()
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
