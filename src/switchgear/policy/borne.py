"""Borne: what an exception of others bears that says more than its type.

Each function here is given the exception of a library, whose attributes may be missing or anything:
whoever asks (`foreign.meaning`) takes what fails here for nothing known.
"""

from errno import EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH
from typing import Any, Final

from switchgear.policy.fault import Code, Effect
from switchgear.policy.health import BY_CODE, GOOD
from switchgear.policy.meanings import (
    LOST,
    RACE,
    UNREACHED,
    Meaning,
    of_aws,
    of_closing,
    of_mongo,
    of_mysql,
    of_reply,
    of_sqlite,
)
from switchgear.policy.sqlstate import of_sqlstate
from switchgear.policy.status import (
    code_of_status,
    effect_of_status,
    seconds_of,
    status_in,
    verdict_of_status,
    wait_in,
)

__all__ = [
    "answered",
    "as_data",
    "by_closing",
    "by_code_of_mongo",
    "by_code_of_sqlite",
    "by_grpc",
    "by_kafka",
    "by_name_of_aws",
    "by_node",
    "by_number_of_mysql",
    "by_recipients",
    "by_reply",
    "by_response",
    "in_handshake",
    "in_use",
    "of_state",
    "state_in",
    "unreachable",
    "with_meta",
    "with_response",
    "with_state",
    "without_state",
]

_IN_ORDER: Final = 1000  # a WebSocket that was closed because nothing more was to be said


def _of_status(status: int, after: float | None) -> Meaning | None:
    code = code_of_status(status)
    if code is None:  # a good answer of the wrong kind: a defect of the caller
        return None
    return Meaning(verdict_of_status(status, after), code, effect_of_status(status))


def answered(error: Any) -> Meaning | None:
    """Judge an error that is the answer: it bears the status itself."""
    return _of_status(status_in(error), wait_in(error))


def with_response(error: Any) -> Meaning | None:
    """Judge an error that has the answer as its response."""
    return answered(error.response)


def in_handshake(error: Any) -> Meaning | None:
    """Judge the answer to a handshake, before which nothing can have been done."""
    found = answered(getattr(error, "response", error))
    return None if found is None else found._replace(effect=Effect.NONE)


def with_meta(error: Any) -> Meaning | None:
    """Judge an error of Elasticsearch, which has the status of the answer in what is told of it."""
    return answered(error.meta)


def by_name_of_aws(error: Any) -> Meaning | None:
    """Judge an error of botocore, whose response is a dictionary, by its name and its status."""
    found = of_aws(error.response.get("Error", {}).get("Code"))
    if found is not None:
        return found
    told = error.response["ResponseMetadata"]
    return _of_status(told["HTTPStatusCode"], seconds_of(told["HTTPHeaders"].get("retry-after")))


def unreachable(error: OSError) -> Meaning | None:
    """Know of an OSError that tells of a network; any other one tells of files and the like."""
    if error.errno in (EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH):
        return LOST
    # So event loops say that no address of a host could be connected to.
    return UNREACHED if str(error).startswith("Multiple exceptions: ") else None


def of_state(state: str) -> Meaning | None:
    """Judge by an SQLSTATE; None for what is a defect of the statement."""
    found = of_sqlstate(state)
    if found is None:
        return None
    effect = Effect.UNKNOWN if found.unsure else Effect.NONE
    return Meaning(BY_CODE.get(found.code, GOOD), found.code, effect)


def state_in(error: Any) -> Any:
    """Return the SQLSTATE that an error bears, by either of its usual names."""
    found = getattr(error, "sqlstate", None)
    return getattr(error, "pgcode", None) if found is None else found


def with_state(error: Any) -> Meaning | None:
    """Judge an error of a driver by the SQLSTATE that it bears."""
    return of_state(state_in(error))


def without_state(error: Any) -> Meaning | None:
    """Judge what psycopg raises for the server, and for a connection that is gone or never was."""
    state = state_in(error)
    return LOST if state is None else of_state(state)


def by_number_of_mysql(error: Any) -> Meaning | None:
    """Judge an error of the drivers of MySQL, whose number comes before its words."""
    return of_mysql(error.args[0])


def by_code_of_sqlite(error: Any) -> Meaning | None:
    """Judge an error of SQLite by its extended result code."""
    return of_sqlite(error.sqlite_errorcode)


def by_code_of_mongo(error: Any) -> Meaning | None:
    """Judge by the code; a transaction that the server has given up is named by a label."""
    found = of_mongo(error.code)
    if found is None and error.has_error_label("TransientTransactionError"):
        return RACE
    return found


def by_node(error: Any) -> Meaning:
    """Tell a node of MongoDB that has refused from one that may have stepped down under way."""
    details = error.details
    return (of_mongo(details.get("code")) if isinstance(details, dict) else None) or LOST


def by_reply(error: Any) -> Meaning | None:
    """Judge an error of smtplib by the reply."""
    return of_reply(error.smtp_code)


def by_response(error: Any) -> Meaning | None:
    """Judge an error of aiosmtplib by the reply."""
    return of_reply(error.code)


def by_recipients(error: Any) -> Meaning | None:
    """Judge a letter that nobody may get: another attempt helps where it may help one of them."""
    found = error.recipients
    codes = (
        [one.code for one in found]
        if isinstance(found, list)
        else [code for code, _ in found.values()]
    )
    return of_reply(min(codes))


def by_closing(error: Any) -> Meaning:
    """Judge a WebSocket that is closed, by the code of the other side, unless we gave up first."""
    told = error.rcvd
    ours = error.rcvd_then_sent is False and error.sent.code != _IN_ORDER
    return LOST if told is None or ours else of_closing(told.code)


def by_kafka(error: Any) -> Meaning | None:
    """Judge an error of Kafka that has no rule of its own by what its class says of it."""
    return LOST if error.retriable is True else None


def as_data(error: Any) -> Meaning | None:
    """Tell what the server refused from an argument that asyncpg could not encode: never sent."""
    return None if getattr(error, "severity", None) is None else of_state(error.sqlstate)


def in_use(error: Any) -> Meaning | None:
    """Tell a connection or pool of asyncpg that is closed from one that is used wrongly."""
    words = str(error)
    return LOST if "closed" in words or "closing" in words else None


def by_grpc(error: Any) -> Meaning | None:
    """Judge an error of gRPC by the name of its code, which is one of ours."""
    code = Code(error.code().name.lower())
    verdict = BY_CODE.get(code, GOOD)
    return Meaning(verdict, code, Effect.NONE if verdict is GOOD else Effect.UNKNOWN)
