"""Handlers that end with several failures at once, as a task group does: one honest answer."""

import asyncio
from typing import Any

import pytest

from switchgear.http.message import Request, Response
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from tests.unit.http.wire import serve

pytestmark = pytest.mark.virtual

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MISSING = Fault(Code.NOT_FOUND, "no row", effect=Effect.NONE)
OPEN = Fault(Code.UNAVAILABLE, "open", effect=Effect.NONE, refusal=Refusal.OPEN, retry_after=4.0)


async def asked(*errors: Exception) -> tuple[bytes, list[BaseException], list[Any]]:
    """Ask a handler that ends so; return the answer, its defects, and what was seen."""

    async def handler(call: Call[Request]) -> Response:
        raise ExceptionGroup("unhandled errors in a TaskGroup", errors)

    defects: list[BaseException] = []
    seen: list[Any] = []
    _, connection, wire = serve(
        handler, on_defect=lambda error, _: defects.append(error), observer=seen.append
    )
    connection.data_received(GET)
    await asyncio.sleep(0.01)
    connection.connection_lost(None)
    return wire.sent, defects, seen


async def test_a_group_with_one_fault_is_answered_as_that_fault_and_is_no_defect() -> None:
    answer, defects, seen = await asked(MISSING)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert not defects
    assert (seen[0].fault, seen[0].detail) == ("not_found", "no row")


async def test_the_worst_of_several_faults_answers_for_all() -> None:
    answer, defects, seen = await asked(MISSING, OPEN)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 4\r\n" in answer
    assert not defects
    assert seen[0].detail == "2 failures: open; no row"


async def test_a_defect_among_faults_is_a_500_with_the_whole_group_reported() -> None:
    answer, defects, seen = await asked(MISSING, ZeroDivisionError("x"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"ZeroDivision" not in answer
    (group,) = defects
    assert isinstance(group, ExceptionGroup)
    assert len(group.exceptions) == 2
    assert seen[0].detail == "2 failures: ZeroDivisionError: x; no row"


async def test_a_dependencys_raw_error_is_still_a_defect() -> None:
    answer, defects, seen = await asked(ConnectionResetError("cut"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert len(defects) == 1
    assert (seen[0].fault, seen[0].detail) == ("internal", "ConnectionResetError: cut")
