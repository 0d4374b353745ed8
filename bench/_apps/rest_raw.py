"""The users' app on our HTTP server alone: routed by hand, validated by msgspec."""

import msgspec

from bench._apps.serving import serve
from bench._apps.users.app import NewUser, User, ids
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


if __name__ == "__main__":
    serve(lambda: Server(users, drive=Drive.PARKED))
