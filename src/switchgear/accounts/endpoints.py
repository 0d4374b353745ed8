"""The HTTP face of accounts: its endpoints, declared like any app's."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from switchgear.accounts.desk import Desk
from switchgear.accounts.settings import PASSWORD_CHARS
from switchgear.accounts.surface import (
    ENDED,
    KEYS,
    REFRESH,
    REGISTER,
    SIGN_IN,
    SIGN_OUT,
    Ended,
    Face,
)
from switchgear.binding.email import Email
from switchgear.http.headers import Headers
from switchgear.http.limits import network_of
from switchgear.http.message import JSON, Request, Response, json_response
from switchgear.policy.call import Call
from switchgear.services.endpoint import Endpoint

__all__ = ["endpoints"]

# Tokens are nobody's to keep on the way. Source: RFC 6749 section 5.1
_SECRET: Final = Headers({"cache-control": "no-store"})
# A client may keep the keys for as long as a withdrawn one may still be believed elsewhere.
_PUBLIC: Final = JSON.also({"cache-control": "public, max-age=60"})

Password = Annotated[str, Meta(min_length=1, max_length=PASSWORD_CHARS)]


class Credentials(Struct):
    """Who signs up or in."""

    email: Email
    password: Password


class Accepted(Struct):
    """The answer to every registration that was well formed."""

    email: str
    status: str = "accepted"


class Refresh(Struct):
    """A refresh token, to be exchanged or withdrawn."""

    refresh_token: Annotated[str, Meta(max_length=1024)]


def endpoints() -> list[Endpoint]:
    """Return what the accounts service answers; a Desk is injected."""
    return [
        _endpoint(REGISTER, register, status=202),
        _endpoint(SIGN_IN, sign_in),
        _endpoint(REFRESH, refresh),
        _endpoint(SIGN_OUT, sign_out),
        _endpoint(KEYS, keys),
        _endpoint(ENDED, ended),
    ]


def _endpoint(face: Face, function: Callable[..., Any], status: int = 0) -> Endpoint:
    return Endpoint(
        face.method, face.path, function, public=True, deadline=face.deadline, status=status
    )


async def register(new: Credentials, desk: Desk, call: Call[Request]) -> Accepted:
    """Register an account; the answer is the same whether or not it exists already."""
    await desk.register(new.email, new.password, call.deadline, network_of(call.payload.peer))
    return Accepted(new.email)


async def sign_in(who: Credentials, desk: Desk, call: Call[Request]) -> Response:
    """Sign in: exchange an email and a password for tokens."""
    client = network_of(call.payload.peer)
    session = await desk.sign_in(who.email, who.password, call.deadline, client)
    return json_response(session, 201, _SECRET)


async def refresh(held: Refresh, desk: Desk, call: Call[Request]) -> Response:
    """Exchange a refresh token for new tokens."""
    session = await desk.refresh(held.refresh_token, call.deadline)
    return json_response(session, 201, _SECRET)


async def sign_out(held: Refresh, desk: Desk, call: Call[Request]) -> None:
    """End a session with all its tokens. What is none of ours is no error, as in RFC 7009."""
    await desk.sign_out(held.refresh_token, call.deadline)


async def keys(desk: Desk) -> Response:
    """Publish the keys that verify access tokens (RFC 7517)."""
    return Response(200, _PUBLIC, desk.keys)


async def ended(
    desk: Desk,
    call: Call[Request],
    since: float = 0.0,
    after: Annotated[str, Meta(max_length=64)] = "",
) -> Ended:
    """Tell gateways which sessions have ended before their time."""
    return await desk.ended(since, after, call.deadline)
