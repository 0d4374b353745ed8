"""Keyed: an endpoint that answers a repeated idempotency key from the record of its first outcome.

    key, body -> bound -> [ transaction: scope taken -> recorded? -> handler -> recorded ] -> answer

The record is written in the handler's own transaction: effect and outcome commit together, or not
at all, whatever is killed when. A failure that is final rolls the effect back, and is recorded
after that. What says "not done, try again" is never recorded, nor what was wrong before the
handler began.

Source: draft-ietf-httpapi-idempotency-key-header. It is not compiled, as `transacting` is not.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from switchgear.core.ambient import ambient
from switchgear.http.headers import Headers
from switchgear.http.message import Response, StreamResponse
from switchgear.http.methods import IDEMPOTENCY_KEY
from switchgear.http.problem import FAULT_HEADER, problem
from switchgear.http.stream import Whole
from switchgear.policy.call import Call
from switchgear.policy.crossing import declared
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.status import code_of_status, http_status, verdict_of_status
from switchgear.policy.verdict import transient
from switchgear.ports.records import Record, Records
from switchgear.ports.tables import Tables
from switchgear.services.calling import Answers, read_json
from switchgear.services.given import HttpGiven
from switchgear.services.keys import fingerprint_of, key_in, scope_of, wrong_key
from switchgear.services.transacting import Work, transacting

__all__ = ["OUTCOMES", "REPLAYED", "Keeping", "keyed"]

REPLAYED: Final = "idempotency-replayed"
"""The header by which a repeated answer says that it is one."""

OUTCOMES: Final = ("recorded", "replayed", "busy", "mismatch", "not_kept")
"""What requests with a key are counted by: done and recorded, whether well or not; answered from
the record; told to wait for the first one (409); of another request's key (422); done, and answered
with more than is kept (409)."""


class Keeping(NamedTuple):
    """Where outcomes are recorded, and up to how many bytes of an answer's body.

    `within` answers our own hops with a fault, all of it, as the server here does. `told` hears
    which of the `OUTCOMES` came of a request.
    """

    records: Records
    answer_bytes: int
    within: Callable[[Fault], Response]
    told: Callable[[str], None]


class _Asked(NamedTuple):
    """One request with a key: under what its outcome is recorded, and what it asks."""

    scope: bytes
    fingerprint: bytes
    deadline: float


def keyed(
    route: str, work: Work, tables: Tables | None, keeping: Keeping | None, *, required: bool
) -> Answers:
    """Answer the calls of a route once for each key that they bear; those without, as ever.

    A call without one is refused where it is `required`.
    """
    plain = transacting(work, tables)

    def either(call: Call[HttpGiven]) -> Coroutine[Any, Any, Response]:
        value = call.payload.header(IDEMPOTENCY_KEY)
        if value is None and not required:
            return plain(call)
        return once(call, value)

    async def once(call: Call[HttpGiven], value: str | None) -> Response:
        asked, arguments = await _asked(call, route, value, work)
        if tables is None or keeping is None:
            raise Fault(Code.UNAVAILABLE, f"{route} has no database to record its outcomes in")
        known, begun = None, False
        try:
            async with tables.transaction(asked.deadline) as tx:
                known = await keeping.records.find(tx, asked.scope)
                if known is None:
                    begun = True
                    answer = await work.run(tx, arguments)
                    await keeping.records.keep(tx, asked.scope, _written(answer, asked, keeping))
        except Exception as error:
            if begun:
                known = await _failed(error, asked, tables, keeping)
            elif isinstance(error, Fault) and error.code is Code.ABORTED:
                keeping.told("busy")
            if known is None:
                raise
        if known is not None:
            # Not within the transaction: its rollback would hold the key for a moment more.
            return _repeated(known, asked, keeping)
        keeping.told("recorded")
        return answer

    return either


async def _asked(
    call: Call[HttpGiven], route: str, value: str | None, work: Work
) -> tuple[_Asked, dict[str, Any]]:
    """Find out what is asked, and by whom, and bind it.

    Raises Fault for what is wrong with it, which is no outcome: the handler has not begun.
    """
    if value is None:
        raise wrong_key(f"{route} asks for an idempotency key, and there is none")
    key, given = key_in(value), call.payload
    who = given.call.principal
    if who is None:
        detail = "an idempotency key is somebody's, and the gateway vouched for nobody"
        raise Fault(Code.UNAUTHENTICATED, detail, effect=Effect.NONE)
    body = await _read(given, work)
    ambient.set(given.call)
    fingerprint = fingerprint_of(given.call.payload, body)
    asked = _Asked(scope_of(who, route, key), fingerprint, call.deadline)
    return asked, work.plan.arguments(given)


async def _read(given: HttpGiven, work: Work) -> bytes:
    """Read the body, whatever the handler takes of it: a repeated request is told by all of it."""
    call = given.call
    if work.plan.body is not None:
        body = await read_json(call.payload, work.limit)
    else:
        body = await call.payload.body.read(work.limit)
    # A handler that reads the request itself finds it as it was.
    given.call = replace(call, payload=replace(call.payload, body=Whole(body)))
    given.body = body
    return body


async def _failed(
    error: Exception, asked: _Asked, tables: Tables, keeping: Keeping
) -> Record | None:
    """Record a failure that is final; return what was recorded before it, if anything was.

    The effect is rolled back, and the scope free as soon as that is over. Somebody else may have
    got in between, and done it: then that is the outcome.
    """
    fault = declared(error) or Fault(Code.INTERNAL)
    if not _final(fault):
        return None
    record = _written(problem(fault), asked, keeping)
    try:
        async with tables.transaction(asked.deadline) as tx:
            known = await keeping.records.find(tx, asked.scope, wait=True)
            if known is None:
                await keeping.records.keep(tx, asked.scope, record)
    except Fault:
        return None  # nothing was done: who asks again has it tried again
    if known is None:
        keeping.told("recorded")
    return known


def _final(fault: Fault) -> bool:
    """Say whether a failure is an outcome: not one after which to try again may help."""
    if transient(fault) or fault.code is Code.CANCELLED or fault.retry_after is not None:
        return False
    return not verdict_of_status(http_status(fault)).again


def _written(answer: Response, asked: _Asked, keeping: Keeping) -> Record:
    """Write an answer down. Raises TypeError or ValueError for one that cannot be."""
    if isinstance(answer, StreamResponse):
        raise TypeError(
            "the answer to a request with an idempotency key is streamed, and only a whole one can"
            ' be recorded: return a Response of bytes, or declare idempotency="off"'
        )
    answer.headers.wire()  # what cannot be sent must not be recorded
    body = bytes(answer.body)
    kept = body if len(body) <= keeping.answer_bytes else None
    return Record(asked.fingerprint, answer.status, tuple(answer.headers), kept)


def _repeated(record: Record, asked: _Asked, keeping: Keeping) -> Response:
    """Answer from the record.

    Raises Fault: 422 where something else was asked with the key, 409 where the answer was too
    large to be kept.
    """
    if record.fingerprint != asked.fingerprint:
        keeping.told("mismatch")
        raise Fault(
            Code.INVALID_ARGUMENT,
            "the idempotency key was used for another request",
            effect=Effect.NONE,
            public="This idempotency key was used for another request.",
            extra={"status": 422},
        )
    if record.body is None:
        keeping.told("not_kept")
        raise Fault(
            Code.FAILED_PRECONDITION,
            "the recorded answer was too large to be kept",
            effect=Effect.DONE,
            public=f"This was done and answered {record.status}; its answer was too large to keep.",
        )
    keeping.told("replayed")
    headers = [pair for pair in record.headers if pair[0] != REPLAYED]
    headers.append((REPLAYED, "true"))
    if record.status >= 500:
        headers.append((FAULT_HEADER, _long_ago(record.status, keeping)))
    return Response(record.status, Headers(headers), record.body)


def _long_ago(status: int, keeping: Keeping) -> str:
    """Declare a failure to be none of now: it was judged then, and will not be another one.

    Else a client that goes on asking would open everybody's breakers by one failure.
    """
    code = code_of_status(status) or Code.UNKNOWN
    then = Fault(code, f"{status} from the record of an idempotency key", hops=("record",))
    return keeping.within(then).headers[FAULT_HEADER]
