"""The users' app on our HTTP server alone: routed by hand, validated by msgspec."""

import asyncio
import socket
import sys

import msgspec

from bench._apps.users.app import NewUser, User, ids
from switchgear.assembly.running import freeze, loop_factory
from switchgear.http.message import Request, Response, json_response
from switchgear.http.server import Drive, Server
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault

decode = msgspec.json.Decoder(NewUser).decode


async def users(call: Call[Request]) -> Response:
    request = call.payload
    if request.method == "POST" and request.path == "/users":
        try:
            new = decode(await request.body.read())
        except ValueError as error:
            raise Fault(Code.INVALID_ARGUMENT, str(error), effect=Effect.NONE) from None
        if "@" not in new.email:
            raise Fault(Code.INVALID_ARGUMENT, "no email", effect=Effect.NONE)
        return json_response(User(next(ids), new.name, new.email, new.age), 201)
    number = request.path[7:] if request.path.startswith("/users/") else ""
    if request.method != "GET" or not number.isdecimal():
        raise Fault(Code.NOT_FOUND, f"no {request.path}", effect=Effect.NONE)
    return json_response(User(int(number), "Ada Lovelace", "ada@example.com", 36))


async def main() -> None:
    server = Server(users, drive=Drive.PARKED)
    await server.start(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096))
    freeze()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
