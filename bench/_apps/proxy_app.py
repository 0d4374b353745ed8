"""A reverse proxy of our server and pool alone: our frames, stepped in the server's callback."""

import os
from typing import Any

from bench._apps.serving import serve
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


def proxy() -> Server:
    pool = Pool("127.0.0.1", int(os.environ["UPSTREAM"]))
    return Server(forwarding(pool), drive=Drive.EAGER)


if __name__ == "__main__":
    serve(proxy)
