"""The users' REST app on Granian's own protocol, routed by hand, validated by msgspec."""

from itertools import count
from typing import TYPE_CHECKING

import msgspec

from bench._peers.rest_structs import NewUser, User

if TYPE_CHECKING:
    from granian.rsgi import HTTPProtocol, Scope

decode = msgspec.json.Decoder(NewUser).decode
encode = msgspec.json.Encoder().encode
ids = count(1001)
JSON = [("content-type", "application/json")]


async def app(scope: "Scope", protocol: "HTTPProtocol") -> None:
    method, path = scope.method, scope.path
    if method == "POST" and path == "/users":
        try:
            new = decode(await protocol())
        except ValueError as error:
            protocol.response_bytes(422, JSON, encode({"error": str(error)}))
            return
        user = User(next(ids), new.name, new.email, new.age)
        protocol.response_bytes(201, JSON, encode(user))
        return
    number = path[7:] if method == "GET" and path.startswith("/users/") else ""
    if not number.isdecimal():
        protocol.response_bytes(404, JSON, b'{"error":"not found"}')
        return
    user = User(int(number), "Ada Lovelace", "ada@example.com", 36)
    protocol.response_bytes(200, JSON, encode(user))
