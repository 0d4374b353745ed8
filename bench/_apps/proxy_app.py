"""A reverse proxy of our server and pool: our own frames, stepped in the server's callback.

With `protected` as its last argument, the full outbound stack stands before the pool.
"""

import asyncio
import os
import socket
import sys
from typing import Any

from bench._apps.protected import protected
from bench._harness.calls import LOOPS
from switchgear.core.handler import Handler
from switchgear.http.message import Request, Response
from switchgear.http.pool import Pool
from switchgear.http.server import Drive, Server
from switchgear.policy.call import Call
from switchgear.policy.verdict import BAD_AGAIN, GOOD, Verdict


def judge(response: Response) -> Verdict:
    return BAD_AGAIN if response.status >= 500 else GOOD


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
    send = protected(pool, judge=judge).run if "protected" in sys.argv else pool
    server = Server(forwarding(send), drive=Drive.EAGER)
    await server.start(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024))
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=LOOPS[sys.argv[2]]) as runner:
        runner.run(main())
