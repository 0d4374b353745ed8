"""Statuses: the table between codes and HTTP statuses, and what an answer's status means."""

from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import pytest
from multidict import CIMultiDict

from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.health import BAD, BAD_AGAIN, GOOD, Verdict
from switchgear.policy.status import (
    by_status,
    code_of_status,
    effect_of_status,
    http_status,
    seconds_of,
    status_in,
    status_of,
    verdict_of_status,
    wait_in,
)

STATUSES = {
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 409,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}

CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    405: Code.UNIMPLEMENTED,
    408: Code.DEADLINE_EXCEEDED,
    409: Code.ABORTED,
    410: Code.NOT_FOUND,
    412: Code.FAILED_PRECONDITION,
    416: Code.OUT_OF_RANGE,
    418: Code.INVALID_ARGUMENT,
    498: Code.INVALID_ARGUMENT,
    425: Code.UNAVAILABLE,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    500: Code.INTERNAL,
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
    505: Code.UNKNOWN,
    599: Code.UNKNOWN,
}

AGAIN = (408, 429, 502, 503, 504)


# Outwards


@pytest.mark.parametrize("code", Code)
def test_each_code_has_its_status(code: Code) -> None:
    assert http_status(Fault(code)) == STATUSES[code]


@pytest.mark.parametrize("status", [400, 413, 599])
def test_a_fault_may_insist_on_a_status(status: int) -> None:
    fault = Fault(Code.INVALID_ARGUMENT, extra={"status": status, "errors": []})
    assert http_status(fault) == status_of(fault) == status


@pytest.mark.parametrize("status", [399, 600, 200, "404", None, 404.0])
def test_but_not_on_what_is_no_failure(status: object) -> None:
    fault = Fault(Code.NOT_FOUND, extra={"status": status})
    assert status_of(fault) is None
    assert http_status(fault) == 404


def test_a_document_that_is_wrong_in_places_is_422() -> None:
    assert http_status(Fault(Code.INVALID_ARGUMENT, extra={"errors": []})) == 422
    assert status_of(Fault(Code.INVALID_ARGUMENT)) is None


# Back


@pytest.mark.parametrize("status", CODES)
def test_each_status_of_a_failure_has_its_code(status: int) -> None:
    assert code_of_status(status) is CODES[status]


@pytest.mark.parametrize("status", [100, 200, 204, 304, 399])
def test_what_is_no_failure_has_no_code(status: int) -> None:
    assert code_of_status(status) is None


@pytest.mark.parametrize("status", range(100, 600))
def test_who_says_no_has_done_nothing(status: int) -> None:
    none = 400 <= status < 500 and status not in (408, 425, 429, 499)
    assert effect_of_status(status) is (Effect.NONE if none else Effect.UNKNOWN)


@pytest.mark.parametrize("status", range(100, 600))
def test_what_a_status_says_of_the_dependency(status: int) -> None:
    """Rule 7."""
    bad = BAD if status >= 500 else GOOD
    assert verdict_of_status(status) == (BAD_AGAIN if status in AGAIN else bad)
    after = verdict_of_status(status, 0.0).after
    assert after == (0.0 if status in AGAIN else None)


# The answers of anybody's client


def answers(status: int, headers: dict[str, str]) -> list[Any]:
    """Make responses as the clients give them: a status, and headers in no matter which case."""
    return [
        httpx.Response(status, headers=headers),
        SimpleNamespace(status=status, headers=CIMultiDict(headers)),  # aiohttp's
        SimpleNamespace(status_code=HTTPStatus(status), headers=headers),
        SimpleNamespace(status_code=None, status=status, headers=headers),
    ]


@pytest.mark.parametrize("name", ["retry-after", "Retry-After"])
@pytest.mark.parametrize("status", [200, 302, 400, 404, 408, 409, 429, 500, 501, 502, 503, 504])
def test_an_answer_is_judged_by_its_status(status: int, name: str) -> None:
    expected = verdict_of_status(status, 7.0)
    for answer in answers(status, {name: "7"}):
        assert by_status(answer) == expected
    for answer in answers(status, {}):
        assert by_status(answer) == verdict_of_status(status)


def test_a_good_answer_is_the_common_verdict_itself() -> None:
    assert by_status(httpx.Response(204)) is GOOD
    assert by_status(httpx.Response(399)) is GOOD
    assert by_status(httpx.Response(404)) is GOOD


def test_the_status_comes_before_another_number() -> None:
    assert status_in(SimpleNamespace(status_code=503, status=200)) == 503
    assert status_in(SimpleNamespace(status=503)) == 503
    assert type(status_in(SimpleNamespace(status=HTTPStatus.NOT_FOUND))) is int


@pytest.mark.parametrize(
    "answer",
    [None, "text", 503, b"", {"status": 503}, object(), SimpleNamespace(status="503"),
     SimpleNamespace(status=True), SimpleNamespace(status=99), SimpleNamespace(status=600),
     SimpleNamespace(status=503.0), SimpleNamespace(status_code=1000, status=503)],
)  # fmt: skip
def test_what_bears_no_status_is_good(answer: object) -> None:
    assert status_in(answer) == 0
    assert by_status(answer) is GOOD


@pytest.mark.parametrize("status", [100, 599])
def test_every_status_is_one(status: int) -> None:
    assert status_in(SimpleNamespace(status=status)) == status


class Broken:
    """An answer whose attributes do what they should not."""

    def __init__(self, status: int = 503) -> None:
        self.status = status

    @property
    def headers(self) -> object:
        raise RuntimeError("closed")


class Worse:
    @property
    def status_code(self) -> int:
        raise RuntimeError("closed")


def test_attributes_that_fail_say_nothing() -> None:
    assert by_status(Broken()) == BAD_AGAIN
    assert by_status(Worse()) is GOOD
    assert status_in(Worse()) == 0


@pytest.mark.parametrize("headers", [None, [], "retry-after", {"retry-after": 7}, {"other": "7"}])
def test_headers_of_another_kind_ask_for_nothing(headers: object) -> None:
    assert wait_in(SimpleNamespace(headers=headers)) is None
    assert by_status(SimpleNamespace(status=503, headers=headers)) == BAD_AGAIN


def test_an_answer_without_headers_asks_for_nothing() -> None:
    assert wait_in(object()) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0", 0.0), ("999999", 999999.0), ("9999999", None), ("-1", None), ("1.5", None),
     ("", None), (" 3", None), ("\xb2", None), ("\u0663", None), (b"3", None), (3, None),
     (None, None), ("Fri, 31 Dec 1999 23:59:59 GMT", None)],
)  # fmt: skip
def test_retry_after_is_read_in_seconds_only(value: object, seconds: float | None) -> None:
    assert seconds_of(value) == seconds
    given = {} if value is None else {"retry-after": value}
    assert wait_in(SimpleNamespace(headers=given)) == seconds


def test_an_error_of_aiohttp_bears_its_status_as_an_answer_does() -> None:
    about = aiohttp.RequestInfo("http://news", "GET", CIMultiDict(), "http://news")  # type: ignore[arg-type]  # a URL's text will do
    error = aiohttp.ClientResponseError(
        about, (), status=429, headers=CIMultiDict({"Retry-After": "7"})
    )
    assert by_status(error) == Verdict(BAD.health, again=True, after=7.0)
