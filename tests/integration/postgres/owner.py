"""A process that owns an embedded server until it is killed: `python owner.py DATA [sleeping]`."""

import asyncio
import sys
from pathlib import Path

from switchgear.engines.postgres.embedded import EmbeddedPostgres
from switchgear.policy.fault import Fault


async def main() -> None:
    server = EmbeddedPostgres(Path(sys.argv[1]))
    try:
        dsn = await server.start()
    except Fault as fault:
        print(fault.detail, flush=True)
        return
    print(server.pid, dsn.url(), flush=True)
    try:
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await server.stop()


asyncio.run(main())
