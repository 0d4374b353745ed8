"""What the exceptions of others mean: httpx, httpcore, aiohttp, asyncpg and the standard library's.

The libraries that are not installed for the tests (requests, urllib3, redis, psycopg, grpc,
botocore) are stood in for by classes that bear the names of theirs, in modules named as theirs.
"""

import asyncio
import errno
import http.client
import io
import socket
import ssl
import subprocess
import sys
import urllib.error
from email.message import Message
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import httpcore
import httpx
import pytest
from multidict import CIMultiDict

from switchgear.policy import foreign
from switchgear.policy.crossing import as_fault, declared
from switchgear.policy.fallback import covers
from switchgear.policy.fault import Code, Effect, Refusal
from switchgear.policy.foreign import Meaning, meaning
from switchgear.policy.status import by_status
from switchgear.policy.verdict import (
    BAD,
    BAD_AGAIN,
    GOOD,
    NEUTRAL_AGAIN,
    Health,
    Verdict,
    effect_of,
    judge,
)

UNREACHED = Meaning(BAD_AGAIN, Code.UNAVAILABLE, Effect.NONE)
LOST = Meaning(BAD_AGAIN, Code.UNAVAILABLE, Effect.UNKNOWN)
LATE = Meaning(BAD_AGAIN, Code.DEADLINE_EXCEEDED, Effect.UNKNOWN)
FULL = Meaning(NEUTRAL_AGAIN, Code.UNAVAILABLE, Effect.NONE, Refusal.FULL)
RACE = Meaning(Verdict(Health.GOOD, again=True), Code.ABORTED, Effect.NONE)


def made(path: str, *bases: type[Exception], **attributes: Any) -> type[Exception]:
    """Make a class with the module and the name that another library's has."""
    module, _, name = path.rpartition(".")
    return type(name, bases or (Exception,), {"__module__": module, **attributes})


class Key(NamedTuple):
    """What aiohttp keeps of where a connection leads."""

    host: str = "news"
    port: int = 80
    is_ssl: bool = False
    ssl: bool = True


WHERE: Any = Key()
REFUSED = OSError(errno.ECONNREFUSED, "refused")
RESET = OSError(errno.ECONNRESET, "reset")


class Mine(httpx.ReadError):
    """A class of the application's own that derives from a known one."""


KNOWN = [
    # the standard library's
    (ConnectionRefusedError(), UNREACHED),
    (ConnectionResetError(), LOST),
    (ConnectionAbortedError(), LOST),
    (BrokenPipeError(), LOST),
    (TimeoutError(), LATE),
    (socket.gaierror(socket.EAI_NONAME, "no such name"), UNREACHED),
    (http.client.RemoteDisconnected("closed"), LOST),
    (http.client.IncompleteRead(b"ab", 3), LOST),
    (asyncio.IncompleteReadError(b"ab", 3), LOST),
    (ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol"), LOST),
    (ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "closed"), LOST),
    (ssl.SSLSyscallError(ssl.SSL_ERROR_SYSCALL, "broken"), LOST),
    (urllib.error.URLError(ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred")), LOST),
    (OSError(errno.EHOSTUNREACH, "no route"), LOST),
    (OSError(errno.ENETUNREACH, "no network"), LOST),
    (OSError(errno.EHOSTDOWN, "down"), LOST),
    (OSError(errno.ENETDOWN, "down"), LOST),
    (
        OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), ..."),
        UNREACHED,
    ),
    (urllib.error.URLError(ConnectionRefusedError()), UNREACHED),
    (urllib.error.URLError(TimeoutError()), LATE),
    (urllib.error.URLError(OSError(errno.EHOSTUNREACH, "no route")), LOST),
    # httpx, httpcore
    *[
        (getattr(room, name)("words"), means)
        for room in (httpx, httpcore)
        for name, means in [
            ("ConnectError", UNREACHED),
            ("ConnectTimeout", UNREACHED),
            ("ProxyError", UNREACHED),
            ("PoolTimeout", FULL),
            ("ReadTimeout", LATE),
            ("WriteTimeout", LATE),
            ("ReadError", LOST),
            ("WriteError", LOST),
            ("RemoteProtocolError", LOST),
        ]
    ],
    (httpx.CloseError("words"), LOST),
    (Mine("words"), LOST),
    # aiohttp
    (aiohttp.ClientConnectorError(WHERE, REFUSED), UNREACHED),
    (aiohttp.ClientConnectorDNSError(WHERE, REFUSED), UNREACHED),
    (aiohttp.ClientProxyConnectionError(WHERE, REFUSED), UNREACHED),
    (aiohttp.ConnectionTimeoutError(), UNREACHED),
    (aiohttp.ServerTimeoutError(), LATE),
    (aiohttp.SocketTimeoutError(), LATE),
    (aiohttp.ServerDisconnectedError(), LOST),
    (aiohttp.ClientOSError(errno.ECONNRESET, "reset"), LOST),
    (aiohttp.ClientConnectionResetError("closing"), LOST),
    (aiohttp.ClientConnectionError("closed"), LOST),
    (aiohttp.ClientPayloadError("cut"), LOST),
    # asyncpg
    (asyncpg.InvalidCachedStatementError("changed"), RACE),
    (asyncpg.SerializationError("raced"), RACE),
    (asyncpg.DeadlockDetectedError("raced"), RACE),
    (asyncpg.ConnectionDoesNotExistError("in the middle of operation"), LOST),
    (asyncpg.CannotConnectNowError("starting up"), UNREACHED),
    (asyncpg.AdminShutdownError("shutting down"), LOST),
    (asyncpg.TooManyConnectionsError("full"), UNREACHED),
    (asyncpg.QueryCanceledError("late"), LATE),
    (asyncpg.UniqueViolationError("there"), Meaning(GOOD, Code.ALREADY_EXISTS, Effect.NONE)),
    (asyncpg.DiskFullError("full"), Meaning(BAD_AGAIN, Code.RESOURCE_EXHAUSTED, Effect.NONE)),
    (asyncpg.InterfaceError("connection is closed"), LOST),
    (asyncpg.InterfaceError("pool is closing"), LOST),
    (asyncpg.InternalClientError("got confused"), LOST),
    (asyncpg.ProtocolError("got confused"), LOST),
]

UNKNOWN = [
    ValueError(),
    OSError("disk"),
    asyncio.LimitOverrunError("too long", 3),
    ssl.SSLError("no shared cipher"),
    ssl.SSLCertVerificationError("not for this host"),
    FileNotFoundError(errno.ENOENT, "no file"),
    OSError(errno.EIO, "Not: Multiple exceptions: "),
    urllib.error.URLError("unknown url type"),
    urllib.error.URLError(ValueError("defect")),
    httpx.LocalProtocolError("ours"),
    httpx.UnsupportedProtocol("ours"),
    httpx.DecodingError("ours"),
    httpx.TooManyRedirects("round"),
    aiohttp.InvalidURL("nonsense"),
    aiohttp.ClientError("what"),
    asyncpg.InterfaceError("another operation is in progress"),
    asyncpg.PostgresSyntaxError("wrong"),
    asyncpg.FeatureNotSupportedError("wrong"),
    asyncpg.PostgresError("nobody knows"),
    asyncpg.DataError("invalid input for query argument $1"),  # asyncpg's own: never sent
    made("mine.ConnectError")(),
    made("myhttpx.ConnectError")(),
    made("httpx.Other")(),
]


def told(case: Any) -> str:
    return f"{type(case).__module__}.{type(case).__name__}" if isinstance(case, Exception) else ""


@pytest.mark.parametrize(("error", "means"), KNOWN, ids=told)
def test_what_is_known(error: Exception, means: Meaning) -> None:
    assert meaning(error) == means


@pytest.mark.parametrize("error", UNKNOWN, ids=told)
def test_the_rest_are_defects(error: Exception) -> None:
    assert meaning(error) is None
    assert judge(error) == BAD
    assert effect_of(error) is Effect.UNKNOWN
    assert as_fault(error).code is Code.INTERNAL
    assert covers(error)


def test_what_the_server_says_of_data_is_an_answer() -> None:
    refused = asyncpg.DataError.new({"C": "22P02", "S": "ERROR", "V": "ERROR", "M": "invalid"})
    assert type(refused) is not asyncpg.DataError
    assert meaning(refused) == Meaning(GOOD, Code.INVALID_ARGUMENT, Effect.NONE)


# Status errors


def of_httpx(status: int, headers: dict[str, str]) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://news")
    response = httpx.Response(status, headers=headers, request=request)
    return httpx.HTTPStatusError("words", request=request, response=response)


def of_aiohttp(status: int, headers: dict[str, str]) -> aiohttp.ClientResponseError:
    about: Any = aiohttp.RequestInfo("http://news", "GET", CIMultiDict(), "http://news")  # type: ignore[arg-type]  # a URL's text will do
    return aiohttp.ClientResponseError(about, (), status=status, headers=CIMultiDict(headers))


def of_urllib(status: int, headers: dict[str, str]) -> urllib.error.HTTPError:
    message = Message()
    for name, value in headers.items():
        message[name] = value
    error = urllib.error.HTTPError("http://news", status, "words", message, io.BytesIO())
    error.close()  # else Python 3.14 warns when it is freed
    return error


REQUESTS_HTTP = made("requests.exceptions.HTTPError", OSError)


def of_requests(status: int, headers: dict[str, str]) -> Exception:
    class Response(SimpleNamespace):
        """It is false when it is an error, as theirs is."""

        def __bool__(self) -> bool:
            return False

    error: Any = REQUESTS_HTTP("words")
    error.response = Response(status_code=status, headers=headers)
    return error  # type: ignore[no-any-return]  # its class was made above


def of_botocore(status: int, headers: dict[str, str]) -> Exception:
    error: Any = made("botocore.exceptions.ClientError")("words")
    headers = {name.lower(): value for name, value in headers.items()}
    error.response = {"ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers}}
    return error  # type: ignore[no-any-return]  # its class was made above


RAISED = [of_httpx, of_aiohttp, of_urllib, of_requests, of_botocore]

AFTER = {"Retry-After": "7"}


@pytest.mark.parametrize("make", RAISED)
@pytest.mark.parametrize(
    ("status", "code", "effect"),
    [
        (400, Code.INVALID_ARGUMENT, Effect.NONE),
        (404, Code.NOT_FOUND, Effect.NONE),
        (408, Code.DEADLINE_EXCEEDED, Effect.UNKNOWN),
        (409, Code.ABORTED, Effect.NONE),
        (429, Code.RESOURCE_EXHAUSTED, Effect.UNKNOWN),
        (500, Code.INTERNAL, Effect.UNKNOWN),
        (501, Code.UNIMPLEMENTED, Effect.UNKNOWN),
        (503, Code.UNAVAILABLE, Effect.UNKNOWN),
        (504, Code.DEADLINE_EXCEEDED, Effect.UNKNOWN),
        (599, Code.UNKNOWN, Effect.UNKNOWN),
    ],
)
def test_a_raised_status_means_what_the_answer_means(
    make: Any, status: int, code: Code, effect: Effect
) -> None:
    for headers in ({}, AFTER):
        error = make(status, headers)
        answered = by_status(httpx.Response(status, headers=headers))
        assert meaning(error) == Meaning(answered, code, effect)
        assert judge(error) == answered
        assert effect_of(error) is effect
        assert covers(error) is (answered.health is Health.BAD)
        crossing = as_fault(error, "news")
        assert (crossing.code, crossing.effect, crossing.origin) == (code, effect, "news")
        assert crossing.retry_after == answered.after
        assert crossing.refusal is None
        assert declared(error) is None  # nobody said so: it wants its traceback told


def test_the_wait_is_told() -> None:
    for make in RAISED:
        assert judge(make(429, AFTER)) == Verdict(Health.BAD, again=True, after=7.0)
        assert judge(make(429, {"Retry-After": "soon"})) == BAD_AGAIN


def test_a_good_answer_of_the_wrong_kind_is_a_defect() -> None:
    about: Any = of_aiohttp(200, {}).request_info
    assert meaning(aiohttp.ContentTypeError(about, (), status=200)) is None
    assert meaning(aiohttp.ContentTypeError(about, (), status=503)) == LOST
    assert meaning(of_httpx(302, {})) is None


def test_an_error_without_its_response_is_a_defect() -> None:
    assert meaning(REQUESTS_HTTP("words")) is None
    lone: Any = REQUESTS_HTTP("words")
    lone.response = None
    assert meaning(lone) is None
    assert judge(lone) == BAD


# Stand-ins


REQUESTS = made("requests.exceptions.ConnectionError", OSError)
TIMEOUT = made("requests.exceptions.Timeout", OSError)
POOL_MAX = made("urllib3.exceptions.MaxRetryError")
NEW = made("urllib3.exceptions.NewConnectionError")
PROTOCOL = made("urllib3.exceptions.ProtocolError")
REDIS = made("redis.exceptions.ConnectionError")
OPERATIONAL = made("psycopg.OperationalError", made("psycopg.Error", sqlstate=None))
BOTO = made("botocore.exceptions.ConnectionError")


def max_retry(reason: object) -> Exception:
    error: Any = POOL_MAX("pool: Max retries exceeded")
    error.reason = reason
    return error  # type: ignore[no-any-return]  # its class was made above


STANDING_IN = [
    (made("requests.exceptions.ConnectTimeout", REQUESTS, TIMEOUT)(), UNREACHED),
    (made("requests.exceptions.ReadTimeout", TIMEOUT)(), LATE),
    (TIMEOUT(), LATE),
    (REQUESTS(), LOST),
    (REQUESTS("words"), LOST),
    (REQUESTS(max_retry(NEW("refused"))), UNREACHED),
    (REQUESTS(max_retry(NEW("refused")), TimeoutError()), UNREACHED),
    (REQUESTS(PROTOCOL("Connection aborted.")), LOST),
    (REQUESTS(ValueError("what")), LOST),
    (made("requests.exceptions.SSLError", REQUESTS)("words"), LOST),
    (made("requests.exceptions.ChunkedEncodingError", OSError)(), LOST),
    (made("requests.exceptions.RetryError", OSError)(), LOST),
    (NEW(), UNREACHED),
    (made("urllib3.exceptions.ConnectTimeoutError")(), UNREACHED),
    (made("urllib3.exceptions.EmptyPoolError")(), FULL),
    (made("urllib3.exceptions.TimeoutError")(), LATE),
    (PROTOCOL(), LOST),
    (max_retry(NEW()), UNREACHED),
    (max_retry(made("urllib3.exceptions.EmptyPoolError")()), FULL),
    (max_retry(made("urllib3.exceptions.ResponseError")("too many 503")), LOST),
    (max_retry(None), LOST),
    (made("redis.exceptions.MaxConnectionsError", REDIS)(), FULL),
    (made("redis.exceptions.BusyLoadingError", REDIS)(), UNREACHED),
    (made("redis.exceptions.AuthenticationError", REDIS)(), UNREACHED),
    (made("redis.exceptions.ReadOnlyError")(), UNREACHED),
    (made("redis.exceptions.ClusterDownError")(), UNREACHED),
    (REDIS(), LOST),
    (made("redis.exceptions.TimeoutError")(), LATE),
    (made("redis.exceptions.WatchError")(), RACE),
    (OPERATIONAL(), LOST),
    (made("psycopg.errors.ConnectionTimeout", OPERATIONAL)(), UNREACHED),
    (made("psycopg.errors.AdminShutdown", OPERATIONAL, sqlstate="57P01")(), LOST),
    (made("psycopg.errors.TooManyConnections", OPERATIONAL, sqlstate="53300")(), UNREACHED),
    (
        made("psycopg.errors.UniqueViolation", *OPERATIONAL.__bases__, sqlstate="23505")(),
        Meaning(GOOD, Code.ALREADY_EXISTS, Effect.NONE),
    ),
    (made("psycopg.errors.SyntaxError", *OPERATIONAL.__bases__, sqlstate="42601")(), None),
    (made("psycopg.InterfaceError", *OPERATIONAL.__bases__)(), None),
    (made("psycopg_pool.PoolTimeout", OPERATIONAL)(), FULL),
    (made("psycopg_pool.TooManyRequests", OPERATIONAL)(), FULL),
    (made("botocore.exceptions.EndpointConnectionError", BOTO)(), UNREACHED),
    (made("botocore.exceptions.ConnectTimeoutError", BOTO)(), UNREACHED),
    (made("botocore.exceptions.ReadTimeoutError")(), LATE),
    (made("botocore.exceptions.ConnectionClosedError")(), LOST),
    (BOTO(), LOST),
    (made("botocore.exceptions.ParamValidationError")(), None),
]


@pytest.mark.parametrize(("error", "means"), STANDING_IN, ids=told)
def test_what_is_known_of_libraries_that_are_not_here(
    error: Exception, means: Meaning | None
) -> None:
    assert meaning(error) == means


RPC = made("grpc.RpcError")
RPC_OF_AIO: Any = made("grpc.aio._call.AioRpcError", RPC)


@pytest.mark.parametrize("code", Code)
def test_a_grpc_error_has_the_code_of_its_name(code: Code) -> None:
    error = RPC_OF_AIO()
    error.code = lambda: SimpleNamespace(name=code.name, value=(0, "words"))
    found = meaning(error)
    assert found is not None
    as_ours = judge(as_fault(error))
    assert (found.code, found.verdict, found.refusal) == (code, as_ours, None)
    assert found.effect is (Effect.NONE if as_ours == GOOD else Effect.UNKNOWN)


def test_a_grpc_error_without_a_code_is_a_defect() -> None:
    assert meaning(RPC()) is None
    error = RPC_OF_AIO()
    for named in (SimpleNamespace(name="OK"), None):
        error.code = lambda named=named: named
        assert meaning(error) is None


# One in another


def nested(depth: int, innermost: Exception) -> Exception:
    for _ in range(depth):
        innermost = max_retry(innermost)
    return innermost


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_exception_that_matters_may_be_deep_inside(depth: int) -> None:
    assert meaning(nested(depth, TimeoutError())) == LATE


def test_but_not_bottomless() -> None:
    assert meaning(nested(4, TimeoutError())) == LOST
    assert meaning(nested(5000, TimeoutError())) == LOST


@pytest.mark.parametrize("length", [1, 2, 3])
def test_nor_round_in_a_circle(length: int) -> None:
    ring: list[Any] = [max_retry(None) for _ in range(length)]
    for at, error in enumerate(ring):
        error.reason = ring[(at + 1) % length]
    assert meaning(ring[0]) == LOST
    for error in ring:  # else it is freed by the collector, some time
        error.reason = None


# What is done with it


@pytest.mark.parametrize(("error", "means"), [*KNOWN, *STANDING_IN], ids=told)
def test_it_is_judged_told_and_covered_as_it_means(error: Exception, means: Meaning | None) -> None:
    if means is None:
        return
    assert judge(error) == means.verdict
    assert effect_of(error) is means.effect
    crossing = as_fault(error, "here")
    assert (crossing.code, crossing.effect, crossing.refusal, crossing.origin) == (
        means.code, means.effect, means.refusal, "here",
    )  # fmt: skip
    assert crossing.detail == f"{type(error).__name__}: {error}"
    assert judge(crossing) == means.verdict
    assert covers(error) is (means.verdict.health is not Health.GOOD)
    assert declared(error) is None


def test_in_a_group_it_stands_before_a_refusal_and_after_a_defect() -> None:
    group = ExceptionGroup("several", [httpx.PoolTimeout("full"), httpx.ReadError("cut")])
    assert judge(group) == BAD_AGAIN
    assert as_fault(group).detail == "2 failures: ReadError: cut; PoolTimeout: full"
    assert effect_of(group) is Effect.UNKNOWN
    worst = ExceptionGroup("several", [httpx.ReadError("cut"), ValueError("defect")])
    assert as_fault(worst).code is Code.INTERNAL


# Types


def test_a_type_is_looked_up_once_and_not_for_ever() -> None:
    foreign._rule.cache_clear()
    for _ in range(3):
        assert meaning(httpx.ReadError("cut")) == LOST
        assert meaning(ValueError()) is None
    assert foreign._rule.cache_info()[:2] == (4, 2)
    for number in range(600):
        assert meaning(type(f"Made{number}", (ValueError,), {})()) is None
    assert foreign._rule.cache_info().currsize == foreign._rule.cache_info().maxsize == 512
    foreign._rule.cache_clear()  # and the types can go


def test_a_class_whose_module_is_no_name_is_passed_over() -> None:
    nameless = type("ConnectError", (httpx.ReadError,), {"__module__": 7})
    assert meaning(nameless("words")) == LOST


def test_nothing_is_imported_for_it() -> None:
    program = (
        "import sys; from switchgear.policy.verdict import judge; judge(ValueError());"
        "print([name for name in ('httpx', 'aiohttp', 'asyncpg', 'http', 'socket', 'urllib')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


async def test_an_answer_that_is_no_http_is_none_whatever_status_aiohttp_gives_it() -> None:
    """Its parser makes a 400 of it, which would be the caller's own fault."""

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientResponseError) as caught:
            await session.get(f"http://127.0.0.1:{port}/")
    assert caught.value.status == 400
    fault = as_fault(caught.value)
    assert (fault.code, fault.effect) == (Code.UNAVAILABLE, Effect.UNKNOWN)
