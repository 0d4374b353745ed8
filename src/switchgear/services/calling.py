"""Calling: what answers the calls of one endpoint, once they are bound.

Source: RFC 9110 sections 8.3 and 8.4 (content types and codings).
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from switchgear.binding.plan import Plan
from switchgear.core.ambient import ambient
from switchgear.core.confining import confine
from switchgear.http.message import Request, Response
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.services.answers import Answering
from switchgear.services.given import HttpGiven

__all__ = ["Answers", "calling", "read_json"]

# What is imported is looked up by its name where this is compiled, and these are not.
_set_ambient: Final = ambient.set
_reset_ambient: Final = ambient.reset

Answers = Callable[[Call[HttpGiven]], Coroutine[Any, Any, Response]]
"""Answers one call of an endpoint."""


def calling(plan: Plan, answer: Answering, limit: int) -> Answers:
    """Call a plan, with a body of at most `limit` bytes where it reads one."""
    reads = plan.body is not None

    async def call_it(call: Call[HttpGiven]) -> Response:
        given = call.payload
        if reads:
            given.body = await read_json(given.call.payload, limit)
        token = _set_ambient(given.call)
        try:
            result = await plan.call(given)
        except BaseException as error:
            confine(error)
            raise
        response = answer(result)
        if response.__class__ is Response:  # nothing of the handler's runs on, as it does to stream
            _reset_ambient(token)
        return response

    return call_it


async def read_json(request: Request, limit: int) -> bytes:
    """Read a body that must be JSON. A form that a page of somebody else's sent is none."""
    told = request.headers.get("content-type")
    if told is not None and told != "application/json":
        kind = told.partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise _unfit(
                f"the content type is {kind[:60]!r}",
                "Send JSON, with content-type: application/json.",
            )
    coding = request.headers.get("content-encoding")
    if coding is not None and coding.strip().lower() not in ("", "identity"):
        raise _unfit(
            f"the content coding is {coding[:60]!r}",
            "Send the body as it is, without a content-encoding.",
        )
    return await request.body.read(limit)


def _unfit(detail: str, public: str) -> Fault:
    """Make the fault of a body in a form that is not read here."""
    return Fault(
        Code.INVALID_ARGUMENT, detail, effect=Effect.NONE, public=public, extra={"status": 415}
    )
