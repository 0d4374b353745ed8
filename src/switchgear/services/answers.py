"""Answers: what a handler returned, as a response."""

import types
from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any, Final, Union, get_args, get_origin

from switchgear.binding.encode import Encode, encoder
from switchgear.binding.parameters import ABSENT, Unbindable
from switchgear.binding.plan import Plan
from switchgear.binding.shape import bare
from switchgear.http.headers import Headers
from switchgear.http.message import JSON, Response, StreamResponse

__all__ = ["Answering", "answering", "plain"]

Answering = Callable[[object], Response]
"""Makes the response of what a handler returned. Raises TypeError, a defect, where it cannot."""

_BYTES: Final = (bytes, bytearray, memoryview)
_BODILESS: Final = frozenset({204, 205, 304})
_OPEN: Final = (ABSENT, Any, object, None, type(None))  # what a handler returns, if anything


def answering(plan: Plan, status: int, nothing: int) -> Answering:
    """Compile the answers of one handler: `status` where it returns a value, `nothing` for None.

    A `Response` goes out as it is, whatever the annotation says: for a status or headers of its
    own. `plan.result` keeps what else the handler may return, which is what is described.

    Raises Unbindable for a result that cannot be JSON, or that the status has no room for.
    """
    plan.result = _described(plan.result)
    raw = _is_response(plan.result)
    if status in _BODILESS and not raw and bare(plan.result)[0] not in _OPEN:
        raise Unbindable(
            f"{plan.where}: an answer of status {status} has no body, and it returns a value."
            " Return None, or leave the status to what is returned"
        )
    try:
        encode = _nothing_but_responses(plan.where) if raw else encoder(plan.result, plan.where)
    except TypeError as error:
        raise Unbindable(f"{plan.where}: what it returns cannot be JSON: {error}") from error

    value: type | None = None  # the last one that was no response: to ask costs 0.1 us

    def answer(result: object) -> Response:
        nonlocal value
        if type(result) is not value:
            if isinstance(result, Response):
                return plain(result)
            value = type(result)
        body = encode(result)
        return Response(nothing) if body is None else Response(status, JSON, body)

    return answer


def plain(answer: Response) -> Response:
    """Check what user code wants to send, and take from it what only our own hops may say.

    Raises TypeError for a body that is not bytes, UnwritableError for a header that cannot be sent.
    """
    given: Any = answer  # by a handler, whose headers may be a plain dict
    headers: Any = given.headers
    if not isinstance(headers, Headers):
        headers = answer.headers = Headers(headers)
    if any(name.startswith("switchgear") for name, _ in headers):
        kept = [pair for pair in headers if not pair[0].startswith("switchgear")]
        answer.headers = Headers.parsed(kept, None)
    answer.headers.wire()  # kept; what cannot be written is found before the commit
    if not isinstance(answer, StreamResponse) and not isinstance(answer.body, _BYTES):
        raise TypeError(f"the body of a Response is bytes, not {type(answer.body).__name__}")
    return answer


def _described(annotation: Any) -> Any:
    """Return what an annotation says beside the responses that it admits, or Response alone."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    members = get_args(annotation)
    rest = [member for member in members if not _is_response(member)]
    return reduce(or_, rest) if rest else Response


def _is_response(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Response)


def _nothing_but_responses(where: str) -> Encode:
    def encode(value: Any) -> bytes | None:
        raise TypeError(f"{where} declares a Response but returned a {type(value).__name__}")

    return encode
