"""A reverse proxy of our server and pool alone: our frames, stepped in the server's callback."""

import asyncio
import os
import socket
import sys
from typing import Any

from switchgear.assembly.running import freeze, loop_factory
from switchgear.core.handler import Handler
from switchgear.http.message import Request, Response
from switchgear.http.pool import Pool
from switchgear.http.server import Drive, Server
from switchgear.policy.call import Call


def forwarding(send: Handler[Any, Any]) -> Handler[Request, Response]:
    async def forward(call: Call[Request]) -> Response:
        request = call.payload
        onward = Request(
            request.method,
            request.path,
            request.query,
            request.headers.forwardable(),
            request.body,
            request.target,
        )
        response: Response = await send(
            Call(onward, call.deadline, repeatable=call.repeatable, trail=call.trail)
        )
        return response

    return forward


async def main() -> None:
    pool = Pool("127.0.0.1", int(os.environ["UPSTREAM"]))
    server = Server(forwarding(pool), drive=Drive.EAGER)
    await server.start(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096))
    freeze()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
