"""Parts: one handler of a mounted application that always fails leaves the others alone."""

import asyncio

import pytest

from switchgear.gateway.parts import MOST, Parts, shape_of
from switchgear.http.message import Request, Response
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from tests.support.gateway import House, answer, failing, hang, public, said

pytestmark = pytest.mark.virtual

DEFECT = failing(Fault(Code.INTERNAL, "a defect"))
MOUNT = public("*", "/legacy", prefix=True)


async def broken_at_one(call: Call[Request]) -> Response:
    return await (DEFECT if call.payload.path.endswith("/fails") else answer)(call)


async def test_a_path_that_always_fails_closes_no_other() -> None:
    doors = House([MOUNT], {"service-1": broken_at_one})
    for _ in range(20):
        assert (await doors.ask("GET", "/legacy/fails")).status >= 500
    assert (await doors.ask("GET", "/legacy/works")).status == 200
    assert {event.name for event in doors.transitions} == {
        "GET /legacy/fails at service-1",
        "GET /legacy/fails at service",
    }


async def test_it_is_itself_asked_no_more() -> None:
    doors = House([MOUNT], {"service-1": broken_at_one})
    for _ in range(20):
        last = await doors.ask("GET", "/legacy/fails")
    assert (last.status, said(last)["effect"]) == (503, "none")
    assert len(doors.sent) < 10


async def test_a_path_that_hangs_closes_no_other() -> None:
    async def stuck(call: Call[Request]) -> Response:
        return await (hang if call.payload.path.endswith("/hangs") else answer)(call)

    doors = House([MOUNT], {"service-1": stuck})
    for _ in range(10):
        assert (await doors.ask("POST", "/legacy/hangs", body=b"{}")).status >= 500
    assert (await doors.ask("GET", "/legacy/works")).status == 200


async def test_many_calls_that_hang_at_once_close_no_other() -> None:
    """They were all under way on the mount's way before the first of them told of its path."""

    async def stuck(call: Call[Request]) -> Response:
        return await (hang if call.payload.path.endswith("/hangs") else answer)(call)

    for method in ("GET", "POST"):
        doors = House([MOUNT], {"service-1": stuck})
        asked = (doors.ask(method, "/legacy/hangs", body=b"{}") for _ in range(30))
        assert {told.status for told in await asyncio.gather(*asked)} <= {503, 504}
        assert (await doors.ask("GET", "/legacy/works")).status == 200


async def test_what_an_application_answers_itself_counts() -> None:
    """A framework answers its own 500: no fault of ours is in it."""

    async def own(call: Call[Request]) -> Response:
        fails = call.payload.path.endswith("/fails")
        return Response(500 if fails else 200, body=b"Internal Server Error")

    doors = House([MOUNT], {"service-1": own})
    for _ in range(20):
        await doors.ask("POST", "/legacy/fails", body=b"{}")
    assert (await doors.ask("GET", "/legacy/works")).status == 200


async def test_a_scope_holds_for_what_went_apart() -> None:
    doors = House([public("*", "/legacy", prefix=True, public=False)], {"service-1": broken_at_one})
    assert (await doors.ask("GET", "/legacy/fails")).status == 401


@pytest.mark.parametrize(
    "outcome",
    [
        Fault(Code.UNAVAILABLE, "no connection", effect=Effect.NONE, origin="service-1"),
        Fault(Code.UNAVAILABLE, "open", effect=Effect.NONE, refusal=Refusal.OPEN),
        Fault(Code.DEADLINE_EXCEEDED, "in a hurry", effect=Effect.NONE, refusal=Refusal.HURRIED),
        Fault(Code.NOT_FOUND, "not here"),
        Response(404),
    ],
)
def test_what_says_nothing_of_a_handler_sets_nothing_apart(outcome: Response | Fault) -> None:
    parts = Parts(str, lambda: None)
    parts.failed("GET", "/a", outcome)
    assert parts.of("GET", "/a") is None


def test_there_are_only_so_many() -> None:
    parts = Parts(str, lambda: None)
    for number in range(MOST + 10):
        parts.failed("GET", f"/p{number}", Response(500))
    made = [parts.of("GET", f"/p{number}") for number in range(MOST + 10)]
    assert len([one for one in made if one is not None]) == MOST


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/notes/7", "GET /notes/{}"),
        ("/notes/ad17cc31-6e6b-4212-b9f9-2c80f2725832/lines", "GET /notes/{}/lines"),
        ("/v1/notes", "GET /v1/notes"),
        ("/" + "a" * 40, "GET /{}"),
        ("/a" * 20, "GET " + "/a" * 11 + "/..."),
    ],
)
def test_paths_of_one_handler_have_one_shape(path: str, shape: str) -> None:
    assert shape_of("GET", path) == shape
