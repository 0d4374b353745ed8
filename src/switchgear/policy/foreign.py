"""Foreign: what the exceptions of libraries that are not ours mean. None of them is imported.

They are known by the top name of their module and the name of their class, or of the nearest class
that they derive from. The rules below say three things of each: is the dependency well, may
another attempt help, and may the work have been done. Whatever was surely never sent has no effect,
so that even a call that is not repeatable is tried again.

An exception of which nothing is known is a defect. The exception itself is what the caller gets, in
any case.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from switchgear.policy.borne import (
    answered,
    as_data,
    by_closing,
    by_code_of_mongo,
    by_code_of_sqlite,
    by_grpc,
    by_kafka,
    by_name_of_aws,
    by_node,
    by_number_of_mysql,
    by_recipients,
    by_reply,
    by_response,
    in_handshake,
    in_use,
    of_state,
    state_in,
    unreachable,
    with_meta,
    with_response,
    with_state,
    without_state,
)
from switchgear.policy.fault import Code, Effect
from switchgear.policy.meanings import (
    FULL,
    LATE,
    LOST,
    RACE,
    UNREACHED,
    Meaning,
    refused,
)

__all__ = ["Meaning", "meaning"]

Rule = Meaning | Callable[[Any], Meaning | None]

_TYPES: Final = 512  # whose rule is remembered; a program raises fewer
_DEEP: Final = 4  # exceptions in one another, as requests and urllib3 put them


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


# Where another exception in it says more.


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


def _of_driver(otherwise: Meaning | None) -> Rule:
    """Make the rule of SQLAlchemy's errors: what the driver's own says, where that is known.

    Its adapter of asyncpg raises classes of its own, with the SQLSTATE or from the real one.
    """

    def look(error: Any) -> Meaning | None:
        inner = error.orig
        state = state_in(inner)
        if state is not None:
            return of_state(state)
        found = meaning(inner) or meaning(inner.__cause__)
        return found or (LOST if error.connection_invalidated else otherwise)

    return look


def _caused(error: Any) -> Meaning | None:
    """Judge a lost connection by what it was raised from, where that says more."""
    return meaning(error.__cause__) or LOST


def _parsed(error: Any) -> Meaning | None:
    """Judge an answer by its status; the 400 of one that is no HTTP is of aiohttp's own parser."""
    no_http = type(error.__cause__).__module__ == "aiohttp.http_exceptions"
    return LOST if no_http else answered(error)


_HTTPX: Final[dict[str, Rule]] = {
    "ConnectError": UNREACHED,
    "ConnectTimeout": UNREACHED,
    "ProxyError": UNREACHED,
    "PoolTimeout": FULL,
    "TimeoutException": LATE,
    "NetworkError": LOST,
    "RemoteProtocolError": LOST,
    "HTTPStatusError": with_response,
}

_MAIL: Final[dict[str, Rule]] = {
    "SMTPConnectError": UNREACHED,
    "SMTPConnectResponseError": UNREACHED,
    "SMTPHeloError": UNREACHED,
    "SMTPAuthenticationError": UNREACHED,
    "SMTPServerDisconnected": LOST,
    "SMTPRecipientsRefused": by_recipients,
}
_REDIS: Final[dict[str, Rule]] = {
    "MaxConnectionsError": FULL,
    "BusyLoadingError": UNREACHED,
    "AuthenticationError": UNREACHED,
    "ReadOnlyError": UNREACHED,  # a failover has left us at a replica
    "ClusterDownError": UNREACHED,
    "SlotNotCoveredError": UNREACHED,
    "OutOfMemoryError": refused(Code.RESOURCE_EXHAUSTED),
    "NoPermissionError": refused(Code.PERMISSION_DENIED),
    "ConnectionError": LOST,
    "TimeoutError": LATE,
    "TryAgainError": RACE,  # a slot on its way to another node
    "WatchError": RACE,
}
_ELASTIC: Final[dict[str, Rule]] = {
    "ConnectionTimeout": LATE,
    "ConnectionError": LOST,
    "ApiError": with_meta,
    "TransportError": answered,  # of version 7, and of OpenSearch
}
_MYSQL: Final[dict[str, Rule]] = {"MySQLError": by_number_of_mysql}
_KAFKA: Final[dict[str, Rule]] = {
    "NoBrokersAvailable": UNREACHED,
    "NodeNotReadyError": UNREACHED,
    "LeaderNotAvailableError": UNREACHED,
    "NotEnoughReplicasError": UNREACHED,
    "KafkaUnavailableError": LOST,
    "KafkaTimeoutError": LATE,
    "RequestTimedOutError": LATE,
    "MessageSizeTooLargeError": refused(Code.INVALID_ARGUMENT),
    "TopicAuthorizationFailedError": refused(Code.PERMISSION_DENIED),
    "KafkaError": by_kafka,
}
# A channel that is closed fails all that was under way on it, whatever it was closed for.
_NO_SUCH_QUEUE: Final = refused(Code.NOT_FOUND, Effect.UNKNOWN)
_NO_ACCESS: Final = refused(Code.PERMISSION_DENIED, Effect.UNKNOWN)
_LOCKED: Final = refused(Code.ABORTED, Effect.UNKNOWN)
_UNFIT: Final = refused(Code.FAILED_PRECONDITION, Effect.UNKNOWN)

_KNOWN: Final[dict[str, dict[str, Rule]]] = {
    "builtins": {
        "ConnectionRefusedError": UNREACHED,
        "ConnectionError": LOST,
        "TimeoutError": LATE,
        "OSError": unreachable,
    },
    "socket": {"gaierror": UNREACHED},
    "asyncio": {"IncompleteReadError": LOST},
    "ssl": {"SSLEOFError": LOST, "SSLZeroReturnError": LOST, "SSLSyscallError": LOST},
    "http": {"IncompleteRead": LOST},
    "urllib": {"HTTPError": answered, "URLError": _around(None)},
    "httpx": _HTTPX,
    "httpcore": _HTTPX,
    "aiohttp": {
        "ClientConnectorError": UNREACHED,
        "ConnectionTimeoutError": UNREACHED,
        "ServerTimeoutError": LATE,
        "ClientConnectionError": LOST,
        "ClientPayloadError": LOST,
        "ClientResponseError": _parsed,
    },
    "requests": {
        "ConnectTimeout": UNREACHED,
        "Timeout": LATE,
        "ConnectionError": _around(LOST),
        "ChunkedEncodingError": LOST,
        "RetryError": LOST,
        "HTTPError": with_response,
    },
    "urllib3": {
        "ProxyError": UNREACHED,
        "ConnectTimeoutError": UNREACHED,
        "NewConnectionError": UNREACHED,
        "EmptyPoolError": FULL,
        "TimeoutError": LATE,
        "ProtocolError": LOST,
        "MaxRetryError": _around(LOST),
    },
    "redis": _REDIS,
    "valkey": _REDIS,
    "asyncpg": {
        "InvalidCachedStatementError": RACE,  # a migration made it so
        "DataError": as_data,
        "PostgresError": with_state,
        "InterfaceError": in_use,
        "InternalClientError": LOST,
    },
    "psycopg": {
        "ConnectionTimeout": UNREACHED,
        "OperationalError": without_state,
        "Error": with_state,
    },
    "psycopg2": {
        "OperationalError": without_state,
        "InterfaceError": in_use,
        "Error": with_state,
    },
    "psycopg_pool": {"PoolTimeout": FULL, "TooManyRequests": FULL},
    "grpc": {"RpcError": by_grpc},
    "botocore": {
        "ProxyConnectionError": UNREACHED,
        "IncompleteReadError": LOST,
        "ResponseStreamingError": LOST,
        "EndpointConnectionError": UNREACHED,
        "ConnectTimeoutError": UNREACHED,
        "ReadTimeoutError": LATE,
        "ConnectionError": LOST,
        "ConnectionClosedError": LOST,
        "ClientError": by_name_of_aws,
    },
    "sqlalchemy": {
        "TimeoutError": FULL,
        "IntegrityError": _of_driver(refused(Code.FAILED_PRECONDITION)),
        "DBAPIError": _of_driver(None),
        "NoResultFound": refused(Code.NOT_FOUND),
        "StaleDataError": RACE,  # another one has changed the row
    },
    "sqlite3": {"Error": by_code_of_sqlite},
    "pymysql": _MYSQL,
    "MySQLdb": _MYSQL,
    "asyncmy": _MYSQL,
    "pymongo": {
        "ServerSelectionTimeoutError": UNREACHED,
        "WaitQueueTimeoutError": FULL,
        "NetworkTimeout": LATE,
        "NotPrimaryError": by_node,
        "ConnectionFailure": LOST,
        "ExecutionTimeout": LATE,
        "WTimeoutError": LATE,  # done, and not yet everywhere
        "CursorNotFound": RACE,
        "DuplicateKeyError": refused(Code.ALREADY_EXISTS),
        "OperationFailure": by_code_of_mongo,
    },
    "elastic_transport": _ELASTIC,
    "elasticsearch": _ELASTIC,
    "opensearchpy": _ELASTIC,
    "smtplib": {**_MAIL, "SMTPResponseException": by_reply},
    "aiosmtplib": {**_MAIL, "SMTPResponseException": by_response},
    "websockets": {
        "ConnectionClosed": by_closing,
        "InvalidStatus": in_handshake,
        "InvalidStatusCode": in_handshake,
        "InvalidMessage": UNREACHED,
        "ProxyError": UNREACHED,
    },
    "aiokafka": _KAFKA,
    "kafka": _KAFKA,
    "aiormq": {
        "AuthenticationError": UNREACHED,
        "ProbableAuthenticationError": UNREACHED,
        "IncompatibleProtocolError": UNREACHED,
        "ChannelInvalidStateError": LOST,
        "ChannelNotFoundEntity": _NO_SUCH_QUEUE,
        "ChannelAccessRefused": _NO_ACCESS,
        "ChannelLockedResource": _LOCKED,
        "ChannelPreconditionFailed": _UNFIT,
        "PublishError": refused(Code.NOT_FOUND),  # no queue takes it
        "DeliveryError": LOST,  # a queue may have taken it, and another one not
    },
    "amqp": {
        "NotFound": _NO_SUCH_QUEUE,
        "AccessRefused": _NO_ACCESS,
        "ResourceLocked": _LOCKED,
        "PreconditionFailed": _UNFIT,
        "ConnectionError": LOST,
        "MessageNacked": LOST,
    },
    "kombu": {"OperationalError": _caused, "LimitExceeded": FULL},
}
