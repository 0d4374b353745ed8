"""What the exceptions of clients of mail, databases, brokers and WebSockets mean.

Those of smtplib, sqlite3 and websockets are their own; the others' are stood in for, as before.
"""

import smtplib
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets import exceptions as closed
from websockets.datastructures import Headers
from websockets.frames import Close
from websockets.http11 import Response

from switchgear.policy.crossing import as_fault
from switchgear.policy.fault import Code, Effect
from switchgear.policy.foreign import Meaning, meaning
from switchgear.policy.meanings import FULL, LATE, LOST, RACE, UNREACHED, refused
from switchgear.policy.verdict import BAD, GOOD, Health, Verdict, effect_of, judge
from tests.unit.policy.test_foreign import made, told

RULE = Meaning(GOOD, Code.FAILED_PRECONDITION, Effect.NONE)
THERE = Meaning(GOOD, Code.ALREADY_EXISTS, Effect.NONE)
WRONG = Meaning(GOOD, Code.INVALID_ARGUMENT, Effect.NONE)
DENIED = Meaning(GOOD, Code.PERMISSION_DENIED, Effect.NONE)
ABSENT = Meaning(GOOD, Code.NOT_FOUND, Effect.NONE)
MISSING = refused(Code.UNIMPLEMENTED)
EXHAUSTED = refused(Code.RESOURCE_EXHAUSTED)
ENDED = Meaning(Verdict(Health.GOOD, again=True), Code.ABORTED, Effect.UNKNOWN)


def unsure(means: Meaning) -> Meaning:
    return means._replace(effect=Effect.UNKNOWN)


def bearing(kind: type[Exception], *words: object, **attributes: object) -> Exception:
    """Make an exception of another library with what its instances bear."""
    error = kind(*words)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


# Mail

TO = "ann@example.org"
AIO = made("aiosmtplib.errors.SMTPException")
AIO_ANSWER = made("aiosmtplib.errors.SMTPResponseException", AIO)
AIO_CONNECT = made("aiosmtplib.errors.SMTPConnectError", AIO, ConnectionError)
AIO_LATE = made("aiosmtplib.errors.SMTPTimeoutError", AIO, TimeoutError)


def all_refused(*codes: int) -> smtplib.SMTPRecipientsRefused:
    return smtplib.SMTPRecipientsRefused({f"{code}@x": (code, b"no") for code in codes})


MAIL: list[tuple[Exception, Meaning | None]] = [
    (smtplib.SMTPServerDisconnected("Connection unexpectedly closed"), LOST),
    (smtplib.SMTPConnectError(554, b"no service"), UNREACHED),
    (smtplib.SMTPHeloError(550, b"no"), UNREACHED),
    (smtplib.SMTPAuthenticationError(534, b"no"), UNREACHED),
    (smtplib.SMTPNotSupportedError("no AUTH here"), None),
    (smtplib.SMTPException("No suitable authentication method found."), None),
    (smtplib.SMTPSenderRefused(530, b"log in first", TO), UNREACHED),
    (smtplib.SMTPSenderRefused(553, b"no address", TO), WRONG),
    (smtplib.SMTPDataError(421, b"going down"), UNREACHED),
    (smtplib.SMTPDataError(450, b"busy"), RACE),
    (smtplib.SMTPDataError(451, b"an error of mine"), UNREACHED),
    (smtplib.SMTPDataError(452, b"disk full"), EXHAUSTED),
    (smtplib.SMTPDataError(499, b"later"), UNREACHED),
    *[(smtplib.SMTPResponseException(code, "what?"), MISSING) for code in (500, 502, 504, 555)],
    (smtplib.SMTPResponseException(501, "no such form"), WRONG),
    (smtplib.SMTPResponseException(535, "who are you?"), UNREACHED),
    (smtplib.SMTPDataError(503, b"out of order"), RULE),
    (smtplib.SMTPDataError(554, b"spam"), RULE),
    (smtplib.SMTPDataError(599, b"spam"), RULE),
    (smtplib.SMTPDataError(250, b"fine, where 354 was due"), LOST),
    (smtplib.SMTPResponseException(-1, "garbage"), LOST),
    (all_refused(550), RULE),
    (all_refused(550, 450), RACE),
    (all_refused(550, 421), UNREACHED),
    (smtplib.SMTPRecipientsRefused({}), None),
    (bearing(AIO_ANSWER, code=450), RACE),
    (bearing(made("aiosmtplib.errors.SMTPDataError", AIO_ANSWER), code=554), RULE),
    (
        bearing(
            made("aiosmtplib.errors.SMTPRecipientsRefused", AIO),
            recipients=[SimpleNamespace(code=550), SimpleNamespace(code=452)],
        ),
        EXHAUSTED,
    ),
    (
        bearing(
            made("aiosmtplib.errors.SMTPConnectResponseError", AIO_ANSWER, AIO_CONNECT), code=554
        ),
        UNREACHED,
    ),
    (made("aiosmtplib.errors.SMTPServerDisconnected", AIO, ConnectionError)(), LOST),
    (made("aiosmtplib.errors.SMTPConnectTimeoutError", AIO_LATE, AIO_CONNECT)(), UNREACHED),
    (made("aiosmtplib.errors.SMTPReadTimeoutError", AIO_LATE)(), LATE),
    (AIO_CONNECT(), UNREACHED),
]

# WebSockets


def by_them(code: int) -> Exception:
    return closed.ConnectionClosedError(Close(code, ""), Close(code, ""), rcvd_then_sent=True)


def by_us(code: int, theirs: int) -> Exception:
    return closed.ConnectionClosedError(Close(theirs, ""), Close(code, ""), rcvd_then_sent=False)


def answer(status: int) -> Exception:
    return closed.InvalidStatus(Response(status, "words", Headers({"Retry-After": "7"})))


SOCKETS: list[tuple[Exception, Meaning | None]] = [
    (closed.ConnectionClosedError(None, None), LOST),
    (closed.ConnectionClosedError(None, Close(1011, "keepalive ping timeout")), LOST),
    (closed.ConnectionClosedError(Close(1011, ""), None), refused(Code.INTERNAL, Effect.UNKNOWN)),
    (closed.ConnectionClosedOK(Close(1000, ""), Close(1000, ""), rcvd_then_sent=True), ENDED),
    (by_us(1000, 1000), ENDED),
    (by_us(1009, 1009), LOST),  # theirs was too long for us
    *[(by_them(code), LOST) for code in (1001, 1002, 1012, 1013, 2999)],
    *[(by_them(code), unsure(WRONG)) for code in (1003, 1007, 1009)],
    *[(by_them(code), unsure(RULE)) for code in (3000, 4001)],
    (by_them(1005), ENDED),
    (by_them(1008), unsure(DENIED)),
    (by_them(1011), refused(Code.INTERNAL, Effect.UNKNOWN)),
    (answer(404), ABSENT),
    (answer(503), UNREACHED._replace(verdict=UNREACHED.verdict._replace(after=7.0))),
    (answer(500), Meaning(BAD, Code.INTERNAL, Effect.NONE)),
    (answer(200), None),
    (made("websockets.legacy.exceptions.InvalidStatusCode", status_code=403)(), DENIED),
    (closed.InvalidMessage("did not receive a valid HTTP response"), UNREACHED),
    (closed.InvalidProxyMessage("did not receive a valid HTTP response"), UNREACHED),
    (closed.InvalidUpgrade("Upgrade", "soup"), None),
    (closed.InvalidURI("soup", "no"), None),
]

# Databases

ALCHEMY = made("sqlalchemy.exc.DBAPIError", connection_invalidated=False, orig=None)
OPERATIONAL = made("sqlalchemy.exc.OperationalError", ALCHEMY)
INTEGRITY = made("sqlalchemy.exc.IntegrityError", ALCHEMY)
ADAPTER = made("sqlalchemy.dialects.postgresql.asyncpg.Error")
PSYCOPG2 = made("psycopg2.Error", pgcode=None)


def around(orig: Exception, *, lost: bool = False) -> Exception:
    return bearing(OPERATIONAL, orig=orig, connection_invalidated=lost)


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


MONGO = made("pymongo.errors.PyMongoError", has_error_label=lambda self, label: False)
FAILURE = made("pymongo.errors.ConnectionFailure", MONGO)
AGAIN = made("pymongo.errors.AutoReconnect", FAILURE)
PRIMARY = made("pymongo.errors.NotPrimaryError", AGAIN, details=[])
OPERATION = made("pymongo.errors.OperationFailure", MONGO, code=None)
IN_TRANSACTION = made(
    "pymongo.errors.OperationFailure",
    MONGO,
    code=None,
    has_error_label=lambda self, label: label == "TransientTransactionError",
)
MYSQL = made("pymysql.err.MySQLError")
ELASTIC = made("elastic_transport.TransportError")
FOUND = made("elasticsearch.NotFoundError", made("elasticsearch.ApiError"))
OPEN = made("opensearchpy.exceptions.TransportError", status_code=404)

DATABASES: list[tuple[Exception, Meaning | None]] = [
    (made("sqlalchemy.exc.TimeoutError")(), FULL),
    (made("sqlalchemy.exc.NoResultFound")(), ABSENT),
    (made("sqlalchemy.orm.exc.StaleDataError")(), RACE),
    (made("sqlalchemy.exc.StatementError")(), None),
    (bearing(ALCHEMY), None),
    (around(ValueError("who knows")), None),
    (around(ValueError("who knows"), lost=True), LOST),
    (around(bearing(ADAPTER, sqlstate="40001")), RACE),
    (around(bearing(ADAPTER, sqlstate="42601"), lost=True), None),
    (around(raised_from(bearing(ADAPTER, sqlstate=None), ConnectionResetError())), LOST),
    (around(bearing(PSYCOPG2, pgcode="57014")), LATE),
    (bearing(INTEGRITY, orig=bearing(PSYCOPG2, pgcode="23505")), THERE),
    (bearing(INTEGRITY, orig=ValueError("who knows")), RULE),
    (around(bearing(MYSQL, 1213, "Deadlock found")), RACE),
    (made("psycopg2.OperationalError", PSYCOPG2)(), LOST),
    (bearing(made("psycopg2.OperationalError", PSYCOPG2), pgcode="53300"), UNREACHED),
    (bearing(made("psycopg2.errors.UniqueViolation", PSYCOPG2), pgcode="23505"), THERE),
    (made("psycopg2.InterfaceError", PSYCOPG2)("connection already closed"), LOST),
    (made("psycopg2.InterfaceError", PSYCOPG2)("bad argument"), None),
    (sqlite3.OperationalError("one without a code is not SQLite's own"), None),
    (FAILURE(), LOST),
    (AGAIN(), LOST),
    (made("pymongo.errors.WaitQueueTimeoutError", FAILURE)(), FULL),
    (made("pymongo.errors.NetworkTimeout", AGAIN)(), LATE),
    (made("pymongo.errors.ServerSelectionTimeoutError", AGAIN)(), UNREACHED),
    (PRIMARY(), LOST),
    (bearing(PRIMARY, details={"code": 10107}), UNREACHED),
    (bearing(PRIMARY, details={"code": 189}), LOST),
    (made("pymongo.errors.ExecutionTimeout", OPERATION)(), LATE),
    (made("pymongo.errors.WTimeoutError", OPERATION)(), LATE),
    (made("pymongo.errors.CursorNotFound", OPERATION)(), RACE),
    (made("pymongo.errors.DuplicateKeyError", OPERATION)(), THERE),
    (OPERATION(), None),
    (IN_TRANSACTION(), RACE),
    (bearing(IN_TRANSACTION, code=13), DENIED),
    (made("pymongo.errors.ConfigurationError", MONGO)(), None),
    (made("elastic_transport.ConnectionTimeout", ELASTIC)(), LATE),
    (made("elastic_transport.TlsError", made("elastic_transport.ConnectionError"))(), LOST),
    (made("elastic_transport.SerializationError", ELASTIC)(), None),
    (bearing(FOUND, meta=SimpleNamespace(status=404, headers={})), ABSENT),
    (bearing(FOUND, meta=SimpleNamespace(status=503, headers={})), LOST),
    (made("opensearchpy.exceptions.NotFoundError", OPEN)(), ABSENT),
    (made("valkey.exceptions.TimeoutError")(), LATE),
    (made("redis.exceptions.OutOfMemoryError")(), EXHAUSTED),
    (made("redis.exceptions.NoPermissionError")(), DENIED),
    (made("redis.exceptions.TryAgainError")(), RACE),
    (made("redis.exceptions.SlotNotCoveredError")(), UNREACHED),
    (made("redis.exceptions.ResponseError")(), None),
]

# Brokers

KAFKA = made("aiokafka.errors.KafkaError", RuntimeError, retriable=False)
AMQP = made("amqp.exceptions.ConnectionError")
RABBIT = made("aiormq.exceptions.AMQPError")
RABBIT_LOST = made("aiormq.exceptions.AMQPConnectionError", RABBIT, ConnectionError)
CELERY = made("kombu.exceptions.OperationalError")

BROKERS: list[tuple[Exception, Meaning | None]] = [
    *[
        (made(f"aiokafka.errors.{name}", KAFKA)(), means)
        for name, means in [
            ("NoBrokersAvailable", UNREACHED),
            ("NodeNotReadyError", UNREACHED),
            ("LeaderNotAvailableError", UNREACHED),
            ("NotEnoughReplicasError", UNREACHED),
            ("KafkaUnavailableError", LOST),
            ("KafkaTimeoutError", LATE),
            ("RequestTimedOutError", LATE),
            ("MessageSizeTooLargeError", WRONG),
            ("TopicAuthorizationFailedError", DENIED),
            ("UnsupportedCodecError", None),
        ]
    ],
    (made("kafka.errors.KafkaError", retriable=True)(), LOST),
    (made("aiokafka.errors.KafkaConnectionError", KAFKA, retriable=True)(), LOST),
    (RABBIT(), None),
    (RABBIT_LOST(), LOST),
    (made("aiormq.exceptions.IncompatibleProtocolError", RABBIT_LOST)(), UNREACHED),
    *[
        (made(f"aiormq.exceptions.{name}", RABBIT_LOST)(), UNREACHED)
        for name in ("AuthenticationError", "ProbableAuthenticationError")
    ],
    *[
        (made(f"aiormq.exceptions.{name}", RABBIT)(), means)
        for name, means in [
            ("ChannelInvalidStateError", LOST),
            ("ChannelNotFoundEntity", unsure(ABSENT)),
            ("ChannelAccessRefused", unsure(DENIED)),
            ("ChannelLockedResource", ENDED),
            ("ChannelPreconditionFailed", unsure(RULE)),
            ("DeliveryError", LOST),
        ]
    ],
    (made("aiormq.exceptions.PublishError", made("aiormq.exceptions.DeliveryError"))(), ABSENT),
    (made("amqp.exceptions.ConnectionForced", AMQP)(), LOST),
    (made("amqp.exceptions.MessageNacked")(), LOST),
    (made("amqp.exceptions.NotFound")(), unsure(ABSENT)),
    (made("amqp.exceptions.AccessRefused")(), unsure(DENIED)),
    (made("amqp.exceptions.ResourceLocked")(), ENDED),
    (made("amqp.exceptions.PreconditionFailed")(), unsure(RULE)),
    (CELERY(), LOST),
    (raised_from(CELERY(), ValueError("who knows")), LOST),
    (raised_from(CELERY(), ConnectionRefusedError()), UNREACHED),
    (
        made("kombu.exceptions.ChannelLimitExceeded", made("kombu.exceptions.LimitExceeded"))(),
        FULL,
    ),
    (made("kombu.exceptions.EncodeError")(), None),
    (made("botocore.exceptions.ProxyConnectionError")(), UNREACHED),
    (made("botocore.exceptions.IncompleteReadError")(), LOST),
    (made("botocore.exceptions.ResponseStreamingError")(), LOST),
    (made("urllib3.exceptions.ProxyError")(), UNREACHED),
]


@pytest.mark.parametrize(("error", "means"), MAIL + SOCKETS + DATABASES + BROKERS, ids=told)
def test_what_is_known(error: Exception, means: Meaning | None) -> None:
    assert meaning(error) == means
    assert judge(error) == (BAD if means is None else means.verdict)
    assert effect_of(error) is (Effect.UNKNOWN if means is None else means.effect)
    assert as_fault(error).code is (Code.INTERNAL if means is None else means.code)


@pytest.mark.parametrize(
    ("number", "means"),
    [
        (1021, EXHAUSTED), (1040, UNREACHED), (1044, UNREACHED), (1045, UNREACHED), (1048, RULE),
        (1053, LOST), (1062, THERE), (1064, None), (1114, EXHAUSTED), (1142, DENIED),
        (1203, UNREACHED), (1205, RACE), (1213, RACE), (1264, WRONG), (1290, UNREACHED),
        (1317, LATE), (1406, WRONG), (1451, RULE), (1452, RULE), (1836, UNREACHED),
        (2002, UNREACHED), (2003, UNREACHED), (2005, UNREACHED), (2006, LOST), (2013, LOST),
        (2014, LOST), (2055, LOST), (3024, LATE), (3819, RULE), (4031, LOST),
    ],
)  # fmt: skip
def test_an_error_of_mysql_is_judged_by_its_number(number: int, means: Meaning | None) -> None:
    for kind in (MYSQL, made("MySQLdb._exceptions.MySQLError"), made("asyncmy.errors.MySQLError")):
        assert meaning(kind(number, "words")) == means
    assert meaning(MYSQL()) is None


@pytest.mark.parametrize(
    ("code", "means"),
    [
        (13, DENIED), (18, UNREACHED), (24, RACE), (112, RACE), (121, RULE), (202, LATE),
        (251, RACE), (262, LATE), (10107, UNREACHED), (13435, UNREACHED), (14031, EXHAUSTED),
        (2, None), (None, None),
    ],
)  # fmt: skip
def test_an_error_of_mongodb_is_judged_by_its_code(code: int | None, means: Meaning | None) -> None:
    assert meaning(bearing(OPERATION, code=code)) == means


THROTTLING = """
    BandwidthLimitExceeded EC2ThrottledException LimitExceededException RequestLimitExceeded
    ProvisionedThroughputExceededException RequestThrottled RequestThrottledException SlowDown
    ThrottledException Throttling ThrottlingException TooManyRequestsException
"""


@pytest.mark.parametrize(
    ("name", "means"),
    [
        *[(name, EXHAUSTED) for name in THROTTLING.split()],
        ("AccessDeniedException", DENIED),
        ("ConditionalCheckFailedException", RULE),
        ("PriorRequestNotComplete", RACE),
        ("RequestTimeout", LATE),
        ("RequestTimeoutException", LATE),
        ("ResourceNotFoundException", ABSENT),
        ("TransactionConflictException", RACE),
        ("TransactionInProgressException", RACE),
        ("ValidationException", WRONG),  # by the status
    ],
)
def test_an_error_of_aws_is_judged_by_its_name_before_its_status(name: str, means: Meaning) -> None:
    response = {
        "Error": {"Code": name},
        "ResponseMetadata": {"HTTPStatusCode": 400, "HTTPHeaders": {}},
    }
    error = bearing(made("botocore.exceptions.ClientError"), response=response)
    assert meaning(error) == means


def failing(connection: sqlite3.Connection, statement: str) -> sqlite3.Error:
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute(statement)
    return caught.value


def test_what_sqlite_refuses() -> None:
    here = sqlite3.connect(":memory:")
    here.execute("create table t (id integer primary key, name text unique check (name <> ''))")
    here.execute("insert into t values (1, 'ann')")
    assert meaning(failing(here, "insert into t values (1, 'bob')")) == THERE
    assert meaning(failing(here, "insert into t values (2, 'ann')")) == THERE
    assert meaning(failing(here, "insert into t values (2, '')")) == RULE
    assert meaning(failing(here, "select nothing from t")) is None
    here.execute("pragma max_page_count = 1")
    assert meaning(failing(here, "create table u as select zeroblob(100000)")) == EXHAUSTED
    here.close()


def test_what_another_writer_keeps_locked_is_a_race(tmp_path: Path) -> None:
    one, other = (sqlite3.connect(tmp_path / "t.db", timeout=0.0) for _ in range(2))
    one.execute("create table t (id)")
    one.execute("begin immediate")
    assert meaning(failing(other, "begin immediate")) == RACE
    one.close()
    other.close()


def test_a_table_that_a_shared_cache_keeps_locked_is_a_race() -> None:
    shared: Any = {"uri": True, "isolation_level": None}
    one, other = (sqlite3.connect("file:t?mode=memory&cache=shared", **shared) for _ in range(2))
    one.execute("create table t (id)")
    one.execute("begin")
    one.execute("insert into t values (1)")
    assert meaning(failing(other, "select * from t")) == RACE
    one.close()
    other.close()
