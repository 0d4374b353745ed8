"""Meanings: what an exception of others says, and what the error codes of other protocols mean.

The codes are those that reach callers in the exceptions of clients (`foreign.py`). HTTP's stand in
`status.py`, PostgreSQL's in `sqlstate.py`.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from switchgear.policy.fault import Code, Effect, Refusal
from switchgear.policy.health import BAD_AGAIN, BY_CODE, GOOD, NEUTRAL_AGAIN, Verdict

__all__ = [
    "FULL",
    "LATE",
    "LOST",
    "RACE",
    "UNREACHED",
    "Meaning",
    "of_aws",
    "of_closing",
    "of_mongo",
    "of_mysql",
    "of_reply",
    "of_sqlite",
    "refused",
]


class Meaning(NamedTuple):
    """What an exception says: as a `Fault` would, and the `verdict` (`after` is its wait)."""

    verdict: Verdict
    code: Code
    effect: Effect = Effect.UNKNOWN
    refusal: Refusal | None = None


def refused(code: Code, effect: Effect = Effect.NONE) -> Meaning:
    """Make what the dependency itself means by a code: it has done nothing, if nothing is said."""
    return Meaning(BY_CODE.get(code, GOOD), code, effect)


UNREACHED: Final = Meaning(BAD_AGAIN, Code.UNAVAILABLE, Effect.NONE)  # nothing was done
LOST: Final = Meaning(BAD_AGAIN, Code.UNAVAILABLE)  # the connection, under way
LATE: Final = Meaning(BAD_AGAIN, Code.DEADLINE_EXCEEDED)
FULL: Final = Meaning(NEUTRAL_AGAIN, Code.UNAVAILABLE, Effect.NONE, Refusal.FULL)  # our own pool
RACE: Final = refused(Code.ABORTED)  # lost, and taken back

_THERE: Final = refused(Code.ALREADY_EXISTS)
_BROKEN_RULE: Final = refused(Code.FAILED_PRECONDITION)
_WRONG: Final = refused(Code.INVALID_ARGUMENT)
_DENIED: Final = refused(Code.PERMISSION_DENIED)
_EXHAUSTED: Final = refused(Code.RESOURCE_EXHAUSTED)
_MISSING: Final = refused(Code.UNIMPLEMENTED)

# RFC 5321, section 4.2: by a reply of 4yz or 5yz "the requested action did not occur".
_REPLIES: Final = {
    450: RACE,  # the mailbox is busy, or the sender not known yet: the server is well
    452: _EXHAUSTED,
    500: _MISSING,
    501: _WRONG,
    502: _MISSING,
    504: _MISSING,
    530: UNREACHED,  # our own login is missing or was refused: no letter can be sent
    535: UNREACHED,
    553: _WRONG,
    555: _MISSING,
}


def of_reply(code: int) -> Meaning:
    """Say what a reply of SMTP means. What is no refusal stood where none was expected."""
    otherwise = {4: UNREACHED, 5: _BROKEN_RULE}.get(code // 100, LOST)
    return _REPLIES.get(code, otherwise)


# RFC 6455, section 7.4. What was sent before may have been done.
_CLOSINGS: Final = {
    1000: refused(Code.ABORTED, Effect.UNKNOWN),  # ended in order, and without an answer
    1003: refused(Code.INVALID_ARGUMENT, Effect.UNKNOWN),
    1005: refused(Code.ABORTED, Effect.UNKNOWN),  # in order, and without a word
    1007: refused(Code.INVALID_ARGUMENT, Effect.UNKNOWN),
    1008: refused(Code.PERMISSION_DENIED, Effect.UNKNOWN),
    1009: refused(Code.INVALID_ARGUMENT, Effect.UNKNOWN),
    1011: refused(Code.INTERNAL, Effect.UNKNOWN),
}
_PRIVATE: Final = 3000  # from here on, applications say what a code means


def of_closing(code: int) -> Meaning:
    """Say what the code means by which the other side closed a WebSocket."""
    if code >= _PRIVATE:
        return refused(Code.FAILED_PRECONDITION, Effect.UNKNOWN)
    return _CLOSINGS.get(code, LOST)


_MONGO: Final[Mapping[object, Meaning]] = {
    13: _DENIED,
    18: UNREACHED,  # our own login was refused
    24: RACE,  # a lock was not had in time
    112: RACE,  # a write conflict
    121: _BROKEN_RULE,  # a document that the collection's rules refuse
    202: LATE,
    251: RACE,  # the server has forgotten the transaction
    262: LATE,
    10107: UNREACHED,  # no primary: a failover has left us at another node
    13435: UNREACHED,
    14031: _EXHAUSTED,  # disk
}


def of_mongo(code: object) -> Meaning | None:
    """Say what an error code of MongoDB means; None for what is a defect of the command."""
    return _MONGO.get(code)


_MYSQL: Final = {
    1021: _EXHAUSTED,  # disk
    1040: UNREACHED,  # too many connections
    1044: UNREACHED,  # our own login was refused, as is 1045
    1045: UNREACHED,
    1048: _BROKEN_RULE,
    1053: LOST,  # shutting down
    1062: _THERE,
    1114: _EXHAUSTED,
    1142: _DENIED,
    1203: UNREACHED,
    1205: RACE,  # a lock was not had in time
    1213: RACE,  # a deadlock
    1264: _WRONG,
    1290: UNREACHED,  # read-only: a failover has left us at a replica
    1317: LATE,
    1406: _WRONG,
    1451: _BROKEN_RULE,
    1452: _BROKEN_RULE,
    1836: UNREACHED,  # read-only, as above
    2002: UNREACHED,
    2003: UNREACHED,
    2005: UNREACHED,
    2006: LOST,
    2013: LOST,
    2014: LOST,
    2055: LOST,
    3024: LATE,
    3819: _BROKEN_RULE,
    4031: LOST,
}


def of_mysql(number: int) -> Meaning | None:
    """Say what an error number of MySQL means; None for what is a defect of the statement."""
    return _MYSQL.get(number)


_SQLITE: Final = {
    5: RACE,  # another one writes
    6: RACE,
    13: _EXHAUSTED,  # disk
    19: _BROKEN_RULE,
    1555: _THERE,  # a primary key
    2067: _THERE,  # a unique index
}


def of_sqlite(code: int) -> Meaning | None:
    """Say what an extended result code of SQLite means: as itself, or as the primary one in it."""
    return _SQLITE.get(code, _SQLITE.get(code & 0xFF))


# The first ones are those that botocore itself calls throttling; many come with a status of 400.
_AWS: Final[Mapping[str, Meaning]] = {
    **dict.fromkeys(
        (
            "BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException",
            "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled",
            "RequestThrottledException", "SlowDown", "ThrottledException", "Throttling",
            "ThrottlingException", "TooManyRequestsException",
        ),
        _EXHAUSTED,
    ),
    "AccessDeniedException": _DENIED,
    "ConditionalCheckFailedException": _BROKEN_RULE,
    "PriorRequestNotComplete": RACE,
    "RequestTimeout": LATE,
    "RequestTimeoutException": LATE,
    "ResourceNotFoundException": refused(Code.NOT_FOUND),
    "TransactionConflictException": RACE,
    "TransactionInProgressException": RACE,
}  # fmt: skip


def of_aws(name: str) -> Meaning | None:
    """Say what the name of an error of AWS means; None where its HTTP status says it all."""
    return _AWS.get(name)
