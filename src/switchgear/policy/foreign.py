"""Foreign: what the exceptions of libraries that are not ours mean. None of them is imported.

They are known by the top name of their module and the name of their class, or of the nearest class
that they derive from. The rules below say three things of each: is the dependency well, may
another attempt help, and may the work have been done. Whatever was surely never sent has no effect,
so that even a call that is not repeatable is tried again.

An exception of which nothing is known is a defect. The exception itself is what the caller gets, in
any case.
"""

from collections.abc import Callable
from errno import EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH
from functools import lru_cache
from typing import Any, Final, NamedTuple

from switchgear.policy.fault import Code, Effect, Refusal
from switchgear.policy.health import BAD_AGAIN, BY_CODE, GOOD, NEUTRAL_AGAIN, Verdict
from switchgear.policy.sqlstate import of_sqlstate
from switchgear.policy.status import (
    code_of_status,
    effect_of_status,
    seconds_of,
    status_in,
    verdict_of_status,
    wait_in,
)

__all__ = ["Meaning", "meaning"]


class Meaning(NamedTuple):
    """What an exception says: as a `Fault` would, and the `verdict` (`after` is its wait)."""

    verdict: Verdict
    code: Code
    effect: Effect = Effect.UNKNOWN
    refusal: Refusal | None = None


Rule = Meaning | Callable[[Any], Meaning | None]

_TYPES: Final = 512  # whose rule is remembered; a program raises fewer
_DEEP: Final = 4  # exceptions in one another, as requests and urllib3 put them

_UNREACHED: Final = Meaning(BAD_AGAIN, Code.UNAVAILABLE, Effect.NONE)  # nothing was sent
_LOST: Final = Meaning(BAD_AGAIN, Code.UNAVAILABLE)  # the connection, under way
_LATE: Final = Meaning(BAD_AGAIN, Code.DEADLINE_EXCEEDED)
_FULL: Final = Meaning(NEUTRAL_AGAIN, Code.UNAVAILABLE, Effect.NONE, Refusal.FULL)  # our own pool
_RACE: Final = Meaning(BY_CODE[Code.ABORTED], Code.ABORTED, Effect.NONE)  # lost, and taken back


def meaning(error: BaseException) -> Meaning | None:
    """Return what is known of an exception that is no fault; None for a defect.

    It never fails, whatever the attributes of the exception do: then nothing is known of it.
    """
    try:
        kind: Any = type(error)
        rule = _rule(kind)
        return rule(error) if callable(rule) else rule
    except Exception:  # noqa: BLE001 - a stranger's property may raise anything
        return None


@lru_cache(_TYPES)
def _rule(kind: type[BaseException]) -> Rule | None:
    """Find the rule of a type: that of the first among its classes that has one."""
    for one in kind.__mro__:
        module: object = one.__module__
        if isinstance(module, str):
            rule = _KNOWN.get(module.partition(".")[0], {}).get(one.__name__)
            if rule is not None:
                return rule
    return None


# What an exception bears that says more than its type.


def _of_status(status: int, after: float | None) -> Meaning | None:
    code = code_of_status(status)
    if code is None:  # a good answer of the wrong kind: a defect of the caller
        return None
    return Meaning(verdict_of_status(status, after), code, effect_of_status(status))


def _answered(error: Any) -> Meaning | None:
    """Judge an error that is the answer: it bears the status itself."""
    return _of_status(status_in(error), wait_in(error))


def _with_response(error: Any) -> Meaning | None:
    return _answered(error.response)


def _with_reply(error: Any) -> Meaning | None:
    """Judge an error of botocore, whose response is a dictionary."""
    told = error.response["ResponseMetadata"]
    return _of_status(told["HTTPStatusCode"], seconds_of(told["HTTPHeaders"].get("retry-after")))


def _around(otherwise: Meaning | None) -> Rule:
    """Make the rule of what wraps the exception that matters; `otherwise` where that is unknown."""

    def look(error: Any) -> Meaning | None:
        inner = error
        for _ in range(_DEEP):
            found = getattr(inner, "reason", None)
            if not isinstance(found, Exception):
                found = inner.args[0] if inner.args else None
            if not isinstance(found, Exception):
                break
            inner = found
        else:  # they may go round in a circle
            return otherwise
        return (None if inner is error else meaning(inner)) or otherwise

    return look


def _unreachable(error: OSError) -> Meaning | None:
    """Know of an OSError that tells of a network; any other one tells of files and the like."""
    if error.errno in (EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH):
        return _LOST
    # So event loops say that no address of a host could be connected to.
    return _UNREACHED if str(error).startswith("Multiple exceptions: ") else None


def _of_state(state: str) -> Meaning | None:
    found = of_sqlstate(state)
    if found is None:
        return None
    effect = Effect.UNKNOWN if found.unsure else Effect.NONE
    return Meaning(BY_CODE.get(found.code, GOOD), found.code, effect)


def _with_state(error: Any) -> Meaning | None:
    return _of_state(error.sqlstate)


def _without_state(error: Any) -> Meaning | None:
    """Judge what psycopg raises for the server, and for a connection that is gone or never was."""
    return _LOST if error.sqlstate is None else _of_state(error.sqlstate)


def _as_data(error: Any) -> Meaning | None:
    """Tell what the server refused from an argument that asyncpg could not encode: never sent."""
    return None if getattr(error, "severity", None) is None else _of_state(error.sqlstate)


def _in_use(error: Any) -> Meaning | None:
    """Tell a connection or pool of asyncpg that is closed from one that is used wrongly."""
    words = str(error)
    return _LOST if "closed" in words or "closing" in words else None


def _of_grpc(error: Any) -> Meaning | None:
    code = Code(error.code().name.lower())
    verdict = BY_CODE.get(code, GOOD)
    return Meaning(verdict, code, Effect.NONE if verdict is GOOD else Effect.UNKNOWN)


_HTTPX: Final[dict[str, Rule]] = {
    "ConnectError": _UNREACHED,
    "ConnectTimeout": _UNREACHED,
    "ProxyError": _UNREACHED,
    "PoolTimeout": _FULL,
    "TimeoutException": _LATE,
    "NetworkError": _LOST,
    "RemoteProtocolError": _LOST,
    "HTTPStatusError": _with_response,
}

_KNOWN: Final[dict[str, dict[str, Rule]]] = {
    "builtins": {
        "ConnectionRefusedError": _UNREACHED,
        "ConnectionError": _LOST,
        "TimeoutError": _LATE,
        "OSError": _unreachable,
    },
    "socket": {"gaierror": _UNREACHED},
    "asyncio": {"IncompleteReadError": _LOST},
    "ssl": {"SSLEOFError": _LOST, "SSLZeroReturnError": _LOST, "SSLSyscallError": _LOST},
    "http": {"IncompleteRead": _LOST},
    "urllib": {"HTTPError": _answered, "URLError": _around(None)},
    "httpx": _HTTPX,
    "httpcore": _HTTPX,
    "aiohttp": {
        "ClientConnectorError": _UNREACHED,
        "ConnectionTimeoutError": _UNREACHED,
        "ServerTimeoutError": _LATE,
        "ClientConnectionError": _LOST,
        "ClientPayloadError": _LOST,
        "ClientResponseError": _answered,
    },
    "requests": {
        "ConnectTimeout": _UNREACHED,
        "Timeout": _LATE,
        "ConnectionError": _around(_LOST),
        "ChunkedEncodingError": _LOST,
        "RetryError": _LOST,
        "HTTPError": _with_response,
    },
    "urllib3": {
        "ConnectTimeoutError": _UNREACHED,
        "NewConnectionError": _UNREACHED,
        "EmptyPoolError": _FULL,
        "TimeoutError": _LATE,
        "ProtocolError": _LOST,
        "MaxRetryError": _around(_LOST),
    },
    "redis": {
        "MaxConnectionsError": _FULL,
        "BusyLoadingError": _UNREACHED,
        "AuthenticationError": _UNREACHED,
        "ReadOnlyError": _UNREACHED,  # a failover has left us at a replica
        "ClusterDownError": _UNREACHED,
        "ConnectionError": _LOST,
        "TimeoutError": _LATE,
        "WatchError": _RACE,
    },
    "asyncpg": {
        "InvalidCachedStatementError": _RACE,  # a migration made it so
        "DataError": _as_data,
        "PostgresError": _with_state,
        "InterfaceError": _in_use,
        "InternalClientError": _LOST,
    },
    "psycopg": {
        "ConnectionTimeout": _UNREACHED,
        "OperationalError": _without_state,
        "Error": _with_state,
    },
    "psycopg_pool": {"PoolTimeout": _FULL, "TooManyRequests": _FULL},
    "grpc": {"RpcError": _of_grpc},
    "botocore": {
        "EndpointConnectionError": _UNREACHED,
        "ConnectTimeoutError": _UNREACHED,
        "ReadTimeoutError": _LATE,
        "ConnectionError": _LOST,
        "ConnectionClosedError": _LOST,
        "ClientError": _with_reply,
    },
}
