"""A JSON endpoint on our server: a user's coroutine in the connection's own parked task."""

import asyncio
import socket
import sys

import msgspec

from bench._apps.person import PERSON
from bench._harness.calls import LOOPS
from switchgear.http.message import Request, Response, json_response
from switchgear.http.server import Drive, Server
from switchgear.policy.call import Call


class Address(msgspec.Struct):
    street: str
    city: str
    zip: str


class Person(msgspec.Struct):
    id: int
    name: str
    email: str
    tags: list[str]
    address: Address


decoder = msgspec.json.Decoder(Person)
ada = decoder.decode(PERSON)


async def person(call: Call[Request]) -> Response:
    if call.payload.method == "POST":
        return json_response(decoder.decode(await call.payload.body.read()))
    return json_response(ada)


async def main() -> None:
    server = Server(person, drive=Drive.PARKED)
    await server.start(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024))
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=LOOPS[sys.argv[2]]) as runner:
        runner.run(main())
