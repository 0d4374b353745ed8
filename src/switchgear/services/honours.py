"""Which endpoints honour idempotency keys: what a declaration says, and what its function can."""

import types
from collections.abc import Iterable
from typing import Any, Union, get_args, get_origin

from switchgear.binding.given import HTTP, Provider
from switchgear.binding.parameters import Parameter, Unbindable, parameters_of, whereabouts
from switchgear.binding.shape import bare
from switchgear.http.message import StreamResponse
from switchgear.ports.tables import Transaction
from switchgear.services.endpoint import Endpoint
from switchgear.services.providers import http_providers
from switchgear.services.transacting import unopened

__all__ = ["asks", "honours", "honours_unbound"]


def asks(parameters: Iterable[Parameter], provider: Provider | None) -> bool:
    """Say whether a parameter is made by `provider`, however its annotation spells it."""
    return provider is not None and any(one.provider is provider for one in parameters)


def honours(endpoint: Endpoint, parameters: Iterable[Parameter], result: Any) -> str:
    """Return what an idempotency key is to an endpoint: optional, required, or off.

    Raises Unbindable for a declaration that its function cannot heed.
    """
    if not endpoint.keyable:
        return "off"
    why = ""
    if not asks(parameters, unopened):
        why = "takes no Transaction, with which alone an outcome can be recorded as it takes effect"
    elif _streams(result):
        why = "streams its answer, and only a whole one can be recorded"
    if not why:
        return endpoint.idempotency or "optional"
    if endpoint.idempotency:
        raise Unbindable(
            f"{whereabouts(endpoint.function)}: {endpoint.name} says"
            f" idempotency={endpoint.idempotency!r}, and {why}"
        )
    return "off"


def honours_unbound(endpoint: Endpoint) -> bool:
    """Say whether an endpoint honours keys, for who routes it and does not run it.

    One that cannot be bound does not: whoever is to run it says why.
    """
    if not endpoint.keyable:
        return False
    injectors = {**http_providers(), Transaction: unopened}
    try:
        found = parameters_of(endpoint.function, frozenset(endpoint.names), injectors, HTTP)
        return honours(endpoint, *found) != "off"
    except Unbindable:
        return False


def _streams(result: Any) -> bool:
    plain = bare(result)[0]
    if get_origin(plain) in (Union, types.UnionType):
        return any(map(_streams, get_args(plain)))
    return isinstance(plain, type) and issubclass(plain, StreamResponse)
