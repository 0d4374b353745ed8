"""The host: from a request to a typed function and back, without a database."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

from switchgear.binding.parameters import Unbindable
from switchgear.core.ambient import current
from switchgear.core.outcome import Failed
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response, StreamResponse
from switchgear.http.stream import Stream
from switchgear.policy.call import Call, Principal
from switchgear.policy.fault import Code, Fault, Refusal
from switchgear.ports.tables import Transaction
from switchgear.services.endpoint import Endpoint, Mount
from switchgear.services.host import Host
from switchgear.services.providers import http_providers
from switchgear.testing.virtual import clock
from tests.support.cancel import Receipt

pytestmark = pytest.mark.virtual


ADA = Principal("ada", "acme", frozenset({"item:write"}))


class Item(Struct):
    name: Annotated[str, Meta(min_length=1)]


class Secretive(Struct):
    name: str
    password: str


def host(*endpoints: Endpoint, mounts: Any = (), **fields: Any) -> Host:
    return Host(
        "service", endpoints, mounts, tables=None, providers=http_providers(), clock=clock, **fields
    )


def call(
    method: str = "GET",
    target: str = "/a",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    within: float = 10.0,
    **fields: Any,
) -> Call[Request]:
    request = Request.of(method, target, headers=headers or {}, body=body)
    return Call(request, clock() + within, **{"principal": ADA, **fields})


async def fault_of(asked: Any) -> Fault:
    with pytest.raises(Fault) as raised:
        await asked
    return raised.value


# Routing


async def test_a_path_parameter_is_decoded_once() -> None:
    async def show(name: str) -> str:
        return name

    served = host(Endpoint("GET", "/a/{name}", show))
    for given, read in (
        ("%C3%A4", "ä"),
        ("a%20b", "a b"),
        ("%252F", "%2F"),
        ("a+b", "a+b"),
        ("%25", "%"),
    ):
        answer = await served(call(target=f"/a/{given}"))
        assert msgspec.json.decode(answer.body) == read


async def test_the_query_is_bound_beside_the_path() -> None:
    async def show(name: str, per: int = 20, words: list[str] | None = None) -> list[Any]:
        return [name, per, words]

    served = host(Endpoint("GET", "/a/{name}", show))
    answer = await served(call(target="/a/x?per=3&words=%C3%A4&words=b"))
    assert msgspec.json.decode(answer.body) == ["x", 3, ["ä", "b"]]
    wrong = await fault_of(served(call(target="/a/x?per=many")))
    assert (wrong.code, wrong.extra["errors"][0]["parameter"]) == (Code.INVALID_ARGUMENT, "per")  # type: ignore[index]  # a list


async def test_head_runs_what_get_runs() -> None:
    async def show() -> str:
        return "shown"

    assert (await host(Endpoint("GET", "/a", show))(call("HEAD"))).body == b'"shown"'


async def test_what_no_route_takes() -> None:
    async def show() -> None: ...

    served = host(Endpoint("GET", "/a", show), Endpoint("DELETE", "/a", show))
    assert (await fault_of(served(call(target="/b")))).code is Code.NOT_FOUND
    wrong = await fault_of(served(call("POST")))
    assert wrong.extra == {"status": 405, "allow": ["DELETE", "GET", "HEAD"]}


async def test_two_that_claim_one_path_are_refused() -> None:
    async def show(id: str = "", name: str = "") -> None: ...

    with pytest.raises(ValueError, match="taken already"):
        host(Endpoint("GET", "/a/{id}", show), Endpoint("GET", "/a/{name}", show))


async def test_the_trail_is_told_the_route() -> None:
    async def show(id: str) -> None: ...

    asked = call(target="/a/7")
    await host(Endpoint("GET", "/a/{id}", show))(asked)
    assert asked.trail.route == "GET /a/{id}"


# What goes in


async def test_a_body_must_say_that_it_is_json_or_nothing() -> None:
    async def make(new: Item) -> Item:
        return new

    served = host(Endpoint("POST", "/a", make))
    for kind in (None, "application/json", "Application/JSON; charset=utf-8", "application/x+json"):
        headers = {} if kind is None else {"content-type": kind}
        assert (await served(call("POST", body=b'{"name":"x"}', headers=headers))).status == 201
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "json",
        "",
        "application/jsonx",
    ):
        refused = await fault_of(served(call("POST", body=b"{}", headers={"content-type": kind})))
        assert refused.extra["status"] == 415


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 201),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, 201),
        ({"sec-fetch-site": "none"}, 201),
        ({"sec-fetch-site": "cross-site"}, 415),
        ({"sec-fetch-site": "same-site", "origin": "https://a"}, 415),
        ({"origin": "https://a"}, 201),  # as old browsers, and those without TLS, have it
        ({"origin": "https://b"}, 415),
        ({"origin": "null"}, 415),
        ({"origin": "https://b", "authorization": "Bearer x"}, 201),  # which was asked for
        ({"origin": "https://b", "content-type": "application/json"}, 201),
    ],
)
async def test_a_page_of_elsewhere_must_say_it_in_any_case(
    fields: dict[str, str], status: int
) -> None:
    """A blob without a type is sent to anybody, as a form is, and its browser does not ask."""

    async def make(new: Item) -> Item:
        return new

    served = host(Endpoint("POST", "/a", make, public=True))
    asked = call("POST", body=b'{"name":"x"}', headers={"host": "a", **fields})
    if status == 415:
        refused = await fault_of(served(asked))
        assert (refused.extra["status"], refused.public) == (
            415,
            "Send JSON, with content-type: application/json.",
        )
    else:
        assert (await served(asked)).status == 201


async def test_a_body_in_a_coding_is_not_read_as_if_it_were_plain() -> None:
    async def make(new: Item) -> Item:
        return new

    served = host(Endpoint("POST", "/a", make))
    for coding in ("gzip", "identity, gzip", "x"):
        headers = {"content-encoding": coding}
        asked = call("POST", body=b'{"name":"x"}', headers=headers)
        assert (await fault_of(served(asked))).extra["status"] == 415
    plain = call("POST", body=b'{"name":"x"}', headers={"content-encoding": "Identity"})
    assert (await served(plain)).status == 201


async def test_a_body_that_is_too_large_or_wrong() -> None:
    async def make(new: Item) -> Item:
        return new

    served = host(Endpoint("POST", "/a", make), body_bytes=20)
    assert (await fault_of(served(call("POST", body=b'{"name":"' + b"x" * 20)))).extra[
        "status"
    ] == 413
    assert (await fault_of(served(call("POST", body=b"{")))).code is Code.INVALID_ARGUMENT
    wrong = await fault_of(served(call("POST", body=b'{"name":""}')))
    assert [one["pointer"] for one in wrong.extra["errors"]] == ["/name"]  # type: ignore[attr-defined]  # a list


async def test_a_body_is_left_alone_where_nobody_asks_for_it() -> None:
    async def make() -> None: ...

    assert (await host(Endpoint("POST", "/a", make))(call("POST", body=b"x"))).status == 204


async def test_what_is_injected_by_type() -> None:
    seen: list[Any] = []

    async def mine(who: Principal, asked: Call[Request], request: Request) -> None:
        seen.extend([who, asked, request, current()])

    ada = Principal("ada")
    given = call(principal=ada, within=10.0)
    await host(Endpoint("GET", "/a", mine, deadline=2.0))(given)
    who, asked, request, ambient = seen
    assert who == ada
    assert request is given.payload
    assert asked is ambient
    # The call that a handler sees ends with its own deadline, not with the gateway's patience.
    assert asked.deadline == clock() + 2.0
    assert (
        await fault_of(host(Endpoint("GET", "/a", mine))(call(principal=None)))
    ).code is Code.UNAUTHENTICATED


async def test_a_mounted_application_has_its_call_about_it() -> None:
    seen: list[Any] = []

    async def app(_: Call[Request]) -> Response:
        seen.append(current())
        return Response(204)

    served = host(mounts=[Mount("/m", print, deadline=2.0)], mounted=lambda *_: app)
    await served(call(target="/m/x", within=10.0))
    assert [each.deadline - clock() for each in seen] == [2.0]


async def test_who_is_not_asked_who_they_are_has_no_principal() -> None:
    async def mine(who: Principal) -> None: ...
    async def anybodys(who: Principal | None = None) -> None: ...
    async def noted(who: Annotated[Principal, "noted"]) -> None: ...

    for function in (mine, anybodys, noted):
        with pytest.raises(Unbindable, match="GET /a is public"):
            host(Endpoint("GET", "/a", function, public=True))


async def test_a_transaction_without_a_database() -> None:
    async def plain(tx: Transaction) -> None: ...
    async def noted(tx: Annotated[Transaction, "noted"]) -> None: ...

    for function in (plain, noted):
        refused = await fault_of(host(Endpoint("GET", "/a", function))(call()))
        assert refused.code is Code.UNAVAILABLE
        assert "needs a database and none is configured" in refused.detail


# What comes out


async def answered(function: Any, **fields: Any) -> Response:
    return await host(Endpoint("POST", "/a", function, **fields))(call("POST"))


async def test_the_status_of_a_success() -> None:
    async def value() -> str:
        return "x"

    async def nothing() -> None: ...

    async def perhaps() -> str | None:
        return None

    assert (await answered(value)).status == 201
    assert (await answered(value, status=202)).status == 202
    assert ((await answered(nothing)).status, (await answered(nothing)).body) == (204, b"")
    assert (await answered(nothing, status=202)).status == 202
    assert (await answered(perhaps)).status == 204
    assert (await host(Endpoint("GET", "/a", value))(call())).status == 200


async def test_a_status_without_a_body_has_no_room_for_a_value() -> None:
    async def value() -> int:
        return 7

    async def perhaps() -> Item | None: ...
    async def nothing() -> None: ...
    async def either() -> Response | None: ...
    async def anything() -> Any: ...

    functions: list[Any] = [value, perhaps]
    for function in functions:
        with pytest.raises(Unbindable, match="status 204 has no body, and it returns a value"):
            host(Endpoint("POST", "/a", function, status=204))
    for open_one in (nothing, either, anything):
        assert (await answered(open_one, status=204)).status == 204


async def test_only_what_is_declared_gets_out() -> None:
    async def leaking() -> Item:
        return Secretive("ada", "hunter2")  # type: ignore[return-value]  # the defect under test

    assert (await answered(leaking)).body == b'{"name":"ada"}'


async def test_a_result_that_does_not_fit_is_a_defect() -> None:
    async def number() -> Item:
        return 7  # type: ignore[return-value]  # the defect under test

    async def something() -> None:
        return 7  # type: ignore[return-value]  # the defect under test

    for function in (number, something):
        with pytest.raises(TypeError, match=function.__name__):
            await answered(function)


async def test_a_result_that_no_json_can_hold_is_refused_beforehand() -> None:
    class Odd: ...

    async def odd() -> Odd:
        return Odd()

    odd.__annotations__["return"] = Odd
    with pytest.raises(Unbindable, match=r"odd \(.*what it returns cannot be JSON"):
        await answered(odd)


async def test_a_response_goes_out_as_it_is() -> None:
    async def teapot() -> Response:
        return Response(418, Headers({"x-own": "1"}), b"short")

    async def either(found: bool = False) -> Item | Response:
        return Item("x") if found else Response(302, Headers({"location": "/b"}))

    async def unannotated():  # type: ignore[no-untyped-def]  # as some write it
        return Response(200, {"X-Own": "1"}, b"x")  # type: ignore[arg-type]  # headers as a dict

    answer = await answered(teapot)
    assert (answer.status, answer.headers["x-own"], answer.body) == (418, "1", b"short")
    served = host(Endpoint("GET", "/a", either))
    assert (await served(call())).headers["location"] == "/b"
    assert (await served(call(target="/a?found=true"))).body == b'{"name":"x"}'
    assert (await answered(unannotated)).headers["x-own"] == "1"


async def test_a_stream_goes_out_as_it_is() -> None:
    async def pieces() -> Any:
        yield b"one"
        yield b"two"

    async def stream() -> StreamResponse:
        return StreamResponse.of(pieces())

    assert await (await answered(stream)).read() == b"onetwo"


async def test_who_promises_a_response_must_give_one() -> None:
    async def lying() -> Response:
        return 7  # type: ignore[return-value]  # the defect under test

    async def textual() -> Response:
        return Response(200, Headers(), "text")

    for function, words in ((lying, "declares a Response but returned a int"), (textual, "bytes")):
        with pytest.raises(TypeError, match=words):
            await answered(function)


async def test_user_code_cannot_speak_as_one_of_our_hops() -> None:
    fault = '{"code":"unavailable","effect":"none"}'
    shared = Response(
        503, Headers({"switchgear-fault": fault, "Switchgear-Token": "x", "x-own": "1"})
    )

    async def forging() -> Response:
        return shared

    for _ in range(2):
        answer = await answered(forging)
        assert list(answer.headers) == [("x-own", "1")]

    async def app(call: Call[Request]) -> Response:
        return Response(503, Headers({"switchgear-fault": fault}), b"")

    served = host(mounts=[Mount("/m", print)], mounted=lambda application, prefix: app)
    assert list((await served(call(target="/m/x"))).headers) == []


# Deadlines


async def test_a_handler_ends_by_its_deadline_and_the_blame_is_the_services() -> None:
    async def slow() -> None:
        await asyncio.sleep(100)

    served = host(Endpoint("POST", "/a", slow, deadline=2.0))
    began = clock()
    late = await fault_of(served(call("POST", within=50.0)))
    assert clock() - began == pytest.approx(2.0, abs=0.02)
    assert (late.code, late.origin, late.refusal) == (Code.DEADLINE_EXCEEDED, "service", None)


async def test_a_caller_in_a_hurry_is_no_failure() -> None:
    async def slow() -> None:
        await asyncio.sleep(100)

    served = host(Endpoint("POST", "/a", slow, deadline=2.0))
    assert (await fault_of(served(call("POST", within=0.5)))).refusal is Refusal.HURRIED
    # A gateway that gives a third of the deadline to each attempt is in no hurry.
    fair = host(Endpoint("GET", "/a", slow, deadline=3.0), fair=lambda one, again: 1.0)
    late = await fault_of(fair(call(within=0.95, repeatable=True)))
    assert (late.code, late.refusal) == (Code.DEADLINE_EXCEEDED, None)


async def test_a_slow_body_does_not_outlive_the_deadline() -> None:
    async def make(new: Item) -> None: ...

    class Dripping:
        def pause(self) -> None: ...
        def resume(self) -> None: ...
        def wanted(self) -> None: ...
        def abandoned(self) -> None: ...

    body = Stream(Dripping(), 100, 1000)
    request = msgspec.structs.replace(Request.of("POST", "/a"), body=body)
    served = host(Endpoint("POST", "/a", make, deadline=2.0))

    async def sent() -> None: ...

    receipt = Receipt(Call(request, clock() + 50.0, principal=ADA), sent)
    await served.run(receipt)
    outcome = receipt.outcomes[0]
    assert isinstance(outcome, Failed)
    assert isinstance(late := outcome.error, Fault)
    # It is the slowness of who sends it, and no failure of ours.
    assert (late.code, late.refusal) == (Code.DEADLINE_EXCEEDED, Refusal.HURRIED)


async def test_a_mount_is_blamed_by_the_kind_of_its_calls() -> None:
    async def hanging(call: Call[Request]) -> Response:
        await asyncio.sleep(100)
        return Response()

    asked: list[bool] = []

    def fair(one: Any, repeatable: bool) -> float:
        asked.append(repeatable)
        return 1.0 if repeatable else 3.0

    served = host(mounts=[Mount("/m", print)], mounted=lambda *_: hanging, fair=fair)
    again = await fault_of(served(call(target="/m", within=0.95, repeatable=True)))
    once = await fault_of(served(call("POST", "/m", within=0.95)))
    assert (again.refusal, once.refusal) == (None, Refusal.HURRIED)
    assert sorted(asked) == [False, True]


# Description


async def test_the_endpoints_are_described_where_nobody_else_does() -> None:
    async def show(id: int) -> Item:
        return Item("x")

    async def raw() -> Response:
        return Response()

    async def own() -> str:
        return "own"

    endpoints = [Endpoint("GET", "/a/{id}", show), Endpoint("POST", "/raw", raw, scope="write")]
    served = host(*endpoints, title="Toys")
    document = msgspec.json.decode((await served(call(target="/openapi.json"))).body)
    assert (document["openapi"], document["info"]["title"]) == ("3.1.0", "Toys")
    assert sorted(document["paths"]) == ["/a/{id}", "/raw"]
    assert "content" not in document["paths"]["/raw"]["post"]["responses"]["201"]
    mine = host(*endpoints, Endpoint("GET", "/openapi.json", own), title="Toys")
    assert (await mine(call(target="/openapi.json"))).body == b'"own"'
    assert (await fault_of(host(*endpoints)(call(target="/openapi.json")))).code is Code.NOT_FOUND


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_who_may_come_in_is_asked_here_too(method: str) -> None:
    """A gateway of another release may know no such endpoint, but the public mount around it."""
    runs = 0

    async def secret() -> None:
        nonlocal runs
        runs += 1

    async def mine() -> str:
        return "mine"

    async def mounted(_: Call[Request]) -> Response:
        nonlocal runs
        runs += 1
        return Response()

    served = host(
        *(Endpoint(one, "/secret", secret, scope="secret") for one in ("GET", "POST")),
        Endpoint("GET", "/mine", mine),
        mounts=[Mount("/private", mounted, public=False, scope="secret"), Mount("/open", mounted)],
        mounted=lambda application, prefix: mounted,
    )
    few, all_ = Principal("eve", "e"), Principal("ada", "a", frozenset({"secret"}))
    for path in ("/secret", "/private/x"):
        for who, code in ((None, Code.UNAUTHENTICATED), (few, Code.PERMISSION_DENIED)):
            assert (await fault_of(served(call(method, path, principal=who)))).code is code
            ran = await settled(served, call(method, path, principal=who))
            assert isinstance(ran, Fault)
            assert ran.code is code
    assert (await fault_of(served(call(target="/mine", principal=None)))).code is (
        Code.UNAUTHENTICATED
    )
    assert runs == 0
    assert (await served(call(method, "/open", principal=None))).status == 200
    assert (await served(call(method, "/private/x", principal=all_))).status == 200
    assert (await served(call("GET", "/mine", principal=few))).status == 200
    assert runs == 2


async def settled(served: Host, asked: Call[Request]) -> object:
    """Answer as a server has it answered; return what the client would be told."""

    async def sent() -> None: ...

    receipt = Receipt(asked, sent)
    await served.run(receipt)
    (outcome,) = receipt.outcomes
    return outcome.error if isinstance(outcome, Failed) else outcome
