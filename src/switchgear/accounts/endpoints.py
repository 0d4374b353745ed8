"""The HTTP face of accounts: four endpoints, declared like any app's."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from switchgear.accounts.desk import Desk, Session
from switchgear.binding.email import Email
from switchgear.http.message import Request
from switchgear.policy.call import Call
from switchgear.services.endpoint import Endpoint

__all__ = ["Credentials", "KeySetDocument", "endpoints"]

Password = Annotated[str, Meta(min_length=1, max_length=256)]


class Credentials(Struct):
    """Who signs up or in."""

    email: Email
    password: Password


class Accepted(Struct):
    """The answer to every registration that was well formed."""

    email: str
    status: str = "accepted"


class Refresh(Struct):
    """A refresh token to be exchanged."""

    refresh_token: Annotated[str, Meta(max_length=1024)]


KeySetDocument = dict[str, list[dict[str, str | list[str]]]]


def endpoints() -> list[Endpoint]:
    """Return what the accounts service answers; a Desk is injected."""
    return [
        Endpoint("POST", "/accounts", register, public=True, status=202, deadline=5.0),
        Endpoint("POST", "/tokens", sign_in, public=True, deadline=5.0),
        Endpoint("POST", "/tokens/refresh", refresh, public=True),
        Endpoint("GET", "/.well-known/jwks.json", keys, public=True),
    ]


async def register(new: Credentials, desk: Desk, call: Call[Request]) -> Accepted:
    """Register an account; the answer is the same whether or not it exists already."""
    await desk.register(new.email, new.password, call.deadline)
    return Accepted(new.email)


async def sign_in(who: Credentials, desk: Desk, call: Call[Request]) -> Session:
    """Sign in: exchange an email and a password for tokens."""
    return await desk.sign_in(who.email, who.password, call.deadline)


async def refresh(held: Refresh, desk: Desk, call: Call[Request]) -> Session:
    """Exchange a refresh token for new tokens."""
    return await desk.refresh(held.refresh_token, call.deadline)


async def keys(desk: Desk) -> KeySetDocument:
    """Publish the keys that verify access tokens (RFC 7517)."""
    return msgspec.json.decode(desk.keys, type=KeySetDocument)
