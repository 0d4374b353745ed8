"""What handlers may ask for by type, besides their parameters and a Transaction."""

from collections.abc import Mapping
from typing import Any

from switchgear.binding.given import Provider
from switchgear.http.message import Request
from switchgear.policy.call import Call, Principal
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.services.given import HttpGiven

__all__ = ["http_providers"]


def http_providers() -> Mapping[Any, Provider]:
    """Return the providers of an HTTP call: its principal, the call itself, the raw request."""
    return {
        Principal: _principal,
        Call: lambda given: given.call,
        Request: lambda given: given.call.payload,
    }


def _principal(given: HttpGiven) -> Principal:
    principal = given.call.principal
    if principal is None:
        raise Fault(
            Code.UNAUTHENTICATED,
            "the handler asks for a Principal, and the gateway vouched for nobody",
            effect=Effect.NONE,
        )
    return principal
