"""The door: who is let in, in which order who is not, and what they are told."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.core.drivers import step
from switchgear.gateway.forward import PROTECTIVE
from switchgear.gateway.settings import GatewaySettings, Limit
from switchgear.gateway.table import RouteEntry
from switchgear.http.headers import Headers
from switchgear.http.message import NOTHING, Request, Response, Upgrade, json_response
from switchgear.http.tunnel import Tunnel
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.testing.virtual import clock, run
from tests.support.gateway import House, answer, failing, hang, public, said, verified

pytestmark = pytest.mark.virtual

BEARER = {"authorization": "Bearer good"}
SECRET = "the-secret-detail at 10.1.2.3:5432"


def guarded(path: str = "/mine", scope: str = "", method: str = "GET") -> RouteEntry:
    return RouteEntry(method, path, "service", scope)


def house(*routes: RouteEntry, **fields: Any) -> House:
    return House(routes or (public(),), **{"tokens": {"good": verified("ada", "read")}, **fields})


async def refused(asked: Awaitable[Response], status: int, code: str) -> Response:
    found = await asked
    told = said(found)
    assert (found.status, told["status"], told["code"]) == (status, status, code)
    assert found.headers["content-type"] == "application/problem+json"
    return found


# Routes


async def test_a_request_goes_to_its_route() -> None:
    doors = house(public("GET", "/users/{id}"), public("POST", "/users"))
    assert said(await doors.ask("GET", "/users/7")) == {"path": "/users/7"}
    (_, call), *_ = doors.sent
    assert call.trail.route == "GET /users/{id}"


async def test_head_goes_where_get_goes() -> None:
    doors = house()
    assert (await doors.ask("HEAD", "/a")).status == 200
    assert doors.sent[0][1].payload.method == "HEAD"


async def test_no_route_is_404_and_a_wrong_method_405_with_what_is_allowed() -> None:
    doors = house(public("GET", "/a"), public("PUT", "/a"))
    await refused(doors.ask("GET", "/b"), 404, "not_found")
    wrong = await refused(doors.ask("POST", "/a"), 405, "unimplemented")
    assert wrong.headers["allow"] == "GET, HEAD, PUT"
    assert said(wrong)["detail"] == "This takes GET, HEAD, PUT, not POST."
    assert doors.sent == []


@pytest.mark.parametrize(
    "path", ["/legacy", "/legacy/", "/legacy/a", "/legacy/a/b/", "/legacy/%20"]
)
async def test_a_mount_takes_its_path_and_all_below_by_any_method(path: str) -> None:
    doors = house(public("*", "/legacy", prefix=True), public("GET", "/{page}"))
    for method in ("GET", "POST", "PURGE", "OPTIONS"):
        assert (await doors.ask(method, path)).status == 200
    assert {call.trail.route for _, call in doors.sent} == {"* /legacy/*"}


@pytest.mark.parametrize("path", ["/legacyx", "/legac", "/", "/x/legacy", "/Legacy", "*"])
async def test_a_mount_takes_nothing_else(path: str) -> None:
    doors = house(public("*", "/legacy", prefix=True))
    await refused(doors.ask("OPTIONS" if path == "*" else "GET", path), 404, "not_found")


async def test_a_mount_at_the_root_takes_what_no_route_does() -> None:
    doors = house(public("*", "/", prefix=True), public("GET", "/a"))
    assert (await doors.ask("GET", "/")).status == 200
    assert (await doors.ask("POST", "/a")).status == 200
    assert [call.trail.route for _, call in doors.sent] == ["* /*", "* /*"]


async def test_an_own_route_under_a_mount_goes_first() -> None:
    doors = house(public("*", "/legacy", prefix=True), guarded("/legacy/mine"))
    await refused(doors.ask("GET", "/legacy/mine"), 401, "unauthenticated")


async def test_tracing_and_tunnelling_are_served_nowhere() -> None:
    doors = house(public("*", "/", prefix=True))
    for method in ("TRACE", "CONNECT"):
        await refused(doors.ask(method, "/a"), 501, "unimplemented")
    assert doors.sent == []


async def test_what_the_gateway_answers_itself() -> None:
    doors = house(
        public("*", "/", prefix=True), local={"/health/live": lambda: (503, {"is": "up"})}
    )
    found = await doors.ask("GET", "/health/live")
    assert (found.status, said(found)) == (503, {"is": "up"})
    assert (await doors.ask("HEAD", "/health/live")).status == 503
    assert doors.sent == []


def test_a_route_to_a_service_that_is_not_there_is_refused() -> None:
    async def build() -> None:
        with pytest.raises(ValueError, match="route GET /a: there is no service 'lost'"):
            House([RouteEntry("GET", "/a", "lost")])
        with pytest.raises(ValueError, match="taken already"):
            House([public("GET", "/a/{x}"), public("GET", "/a/{y}")])

    run(build())


# Who is asking


async def test_without_a_token_it_is_401_and_with_a_scope_missing_403() -> None:
    doors = house(guarded(scope="write"))
    found = await refused(doors.ask("GET", "/mine"), 401, "unauthenticated")
    assert found.headers["www-authenticate"] == "Bearer"
    assert "send Authorization: Bearer" in said(found)["detail"]
    await refused(
        doors.ask("GET", "/mine", {"authorization": "Bearer bad"}), 401, "unauthenticated"
    )
    missing = await refused(doors.ask("GET", "/mine", BEARER), 403, "permission_denied")
    assert said(missing)["detail"] == "Your token does not bear the scope write."
    assert doors.sent == []


@pytest.mark.parametrize(
    "value", ["", "good", "Basic good", "Bearer", "Bearer ", "Bearer  good", "Bearer good good",
              "Bearer good, Bearer good", "bearer\tgood"],
)  # fmt: skip
async def test_only_one_bearer_token_counts(value: str) -> None:
    doors = house(guarded())
    await refused(doors.ask("GET", "/mine", {"authorization": value}), 401, "unauthenticated")
    assert (await doors.ask("GET", "/mine", {"authorization": "bearer good"})).status == 200


async def test_the_service_is_told_who_was_proven_and_nobody_else() -> None:
    doors = house(guarded(scope="read"), public())
    await doors.ask("GET", "/mine", {**BEARER, "x-request-id": "12345678"})
    await doors.ask("GET", "/a", {**BEARER, "x-request-id": "12345678"})
    (_, mine), (_, everybodys) = doors.sent
    assert mine.payload.headers["switchgear-token"] == "service GET /mine 12345678 ada"
    assert mine.principal is not None
    assert mine.principal.subject == "ada"
    assert everybodys.payload.headers["switchgear-token"] == "service GET /a 12345678 nobody"
    assert everybodys.principal is None


async def test_an_unknown_key_while_accounts_are_down_is_503_never_401() -> None:
    away = Fault(Code.UNAVAILABLE, SECRET, effect=Effect.NONE, retry_after=2.5, origin="keys")
    doors = house(guarded(), tokens={"good": verified("ada"), "new": away})
    found = await refused(
        doors.ask("GET", "/mine", {"authorization": "Bearer new"}), 503, "unavailable"
    )
    assert found.headers["retry-after"] == "3"
    assert (await doors.ask("GET", "/mine", BEARER)).status == 200


# Limits


def limited(**limits: Limit) -> GatewaySettings:
    return GatewaySettings(**{"address": Limit(1, 2), **limits})  # type: ignore[arg-type]  # by name


async def test_an_address_has_its_limit_before_anything_is_looked_up() -> None:
    doors = house(guarded(), settings=limited())
    await refused(doors.ask("GET", "/nothing"), 404, "not_found")
    await refused(doors.ask("GET", "/mine"), 401, "unauthenticated")
    found = await refused(doors.ask("GET", "/mine", BEARER), 429, "resource_exhausted")
    assert (found.headers["retry-after"], found.headers["ratelimit"]) == ("1", '"default";r=0;t=1')
    assert doors.asked == []
    assert (await doors.ask("GET", "/mine", BEARER, peer="192.0.2.2")).status == 200
    await asyncio.sleep(1)
    assert (await doors.ask("GET", "/mine", BEARER)).status == 200


async def test_an_ipv6_network_is_one_address() -> None:
    doors = house(settings=limited())
    for host in range(2):
        assert (await doors.ask("GET", "/a", peer=f"2001:db8:1:2::{host}")).status == 200
    await refused(doors.ask("GET", "/a", peer="2001:db8:1:2:9:9:9:9"), 429, "resource_exhausted")
    assert (await doors.ask("GET", "/a", peer="2001:db8:1:3::1")).status == 200


async def test_behind_a_trusted_proxy_it_is_the_clients_limit() -> None:
    settings = GatewaySettings(address=Limit(1, 1), trusted_proxies=("10.0.0.0/8",))
    doors = house(settings=settings)

    async def ask(client: str, peer: str = "10.0.0.1") -> int:
        return (await doors.ask("GET", "/a", {"x-forwarded-for": client}, peer=peer)).status

    assert [await ask("203.0.113.1"), await ask("203.0.113.2"), await ask("203.0.113.1")] == [
        200,
        200,
        429,
    ]
    # A stranger's word for somebody else's address spends its own.
    assert [await ask("203.0.113.3", "192.0.2.1"), await ask("203.0.113.4", "192.0.2.1")] == [
        200,
        429,
    ]
    assert [call.payload.peer for _, call in doors.sent] == [
        "203.0.113.1",
        "203.0.113.2",
        "192.0.2.1",
    ]


async def test_a_principal_has_a_limit_for_each_route() -> None:
    doors = house(
        guarded("/mine/{id}"),
        guarded("/yours"),
        settings=GatewaySettings(principal=Limit(1, 1)),
        tokens={
            "good": verified("ada"),
            "other": verified("bob"),
            "twin": verified("ada", tenant="x"),
        },
    )
    assert (await doors.ask("GET", "/mine/1", BEARER)).status == 200
    await refused(doors.ask("GET", "/mine/2", BEARER), 429, "resource_exhausted")
    assert (await doors.ask("GET", "/yours", BEARER)).status == 200
    for token in ("other", "twin"):
        given = {"authorization": f"Bearer {token}"}
        assert (await doors.ask("GET", "/mine/1", given)).status == 200


async def test_who_signs_in_is_limited_by_address_over_all_such_routes() -> None:
    doors = house(
        public("POST", "/tokens", sign_in=True),
        public("POST", "/accounts", sign_in=True),
        public(),
        settings=GatewaySettings(sign_in=Limit(1, 1)),
    )
    assert (await doors.ask("POST", "/tokens")).status == 200
    await refused(doors.ask("POST", "/accounts"), 429, "resource_exhausted")
    assert (await doors.ask("GET", "/a")).status == 200
    assert (await doors.ask("POST", "/accounts", peer="192.0.2.2")).status == 200


async def test_under_load_the_cheapest_routes_go_first() -> None:
    doors = house(public("GET", "/a", priority=2), public("GET", "/b", priority=8))
    for _ in range(40):
        doors.shedder.observe_lag(0.3, clock())
        await asyncio.sleep(0.05)
    found = await refused(doors.ask("GET", "/a"), 503, "unavailable")
    assert found.headers["retry-after"] == "1"
    assert (await doors.ask("GET", "/b")).status == 200


# Deadlines


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, 2.0), ({"grpc-timeout": "1S"}, 1.0), ({"grpc-timeout": "1H"}, 2.0),
     ({"x-envoy-expected-rq-timeout-ms": "1"}, 0.1)],
)  # fmt: skip
async def test_a_client_shortens_the_deadline_only(headers: dict[str, str], seconds: float) -> None:
    doors = house(public("POST", deadline=2.0), serving={"service-1": hang})
    began = clock()
    await refused(doors.ask("POST", "/a", headers), 504, "deadline_exceeded")
    assert clock() - began == pytest.approx(seconds, abs=0.02)


@pytest.mark.parametrize("setting", ["http.deadline", ""])
async def test_the_log_names_the_setting_of_a_deadline_that_nobody_declared(setting: str) -> None:
    doors = house(public("POST", deadline=2.0, setting=setting), serving={"service-1": hang})
    call = doors.call("POST", "/a")
    await doors.door.handler(call)
    assert call.trail.fault == "deadline_exceeded"
    told = call.trail.detail.endswith("; the route's deadline is http.deadline: 2 s")
    assert told == bool(setting)


async def test_a_token_that_is_long_to_prove_does_not_outlive_the_deadline() -> None:
    doors = house(guarded())

    async def never(token: str) -> Any:
        await asyncio.get_running_loop().create_future()

    doors._authenticate = never  # type: ignore[method-assign]  # as slow as can be
    doors = _rebuilt(doors)
    await refused(doors.ask("GET", "/mine", BEARER), 504, "deadline_exceeded")


def _rebuilt(doors: House) -> House:
    trust = doors.door._trust._replace(authenticate=doors._authenticate)
    doors.door = type(doors.door)(
        [guarded()], {"service": doors.upstream}, trust, doors.settings, local={},
        shedder=doors.shedder, clock=clock,
    )  # fmt: skip
    return doors


# What leaves


async def test_every_answer_is_dressed_alike() -> None:
    doors = house(public(), guarded(), settings=limited(address=Limit(1, 4)))
    asked = [("GET", "/a"), ("GET", "/b"), ("POST", "/a"), ("GET", "/mine"), ("GET", "/a")]
    found = [await doors.ask(*one, {"x-request-id": "0123456789"}) for one in asked]
    assert [one.status for one in found] == [200, 404, 405, 401, 429]
    turned = doors.door.problem(Fault(Code.INVALID_ARGUMENT, SECRET), NOTHING)
    for one in [*found, turned]:
        assert set(PROTECTIVE) <= set(one.headers)
        assert "content-security-policy" in one.headers
    assert {one.headers["x-request-id"] for one in found} == {"0123456789"}
    assert all(one.headers["server-timing"].startswith("upstream;dur=") for one in found)
    full = doors.door.full()
    assert full.startswith(b"HTTP/1.1 503 ")
    assert b"x-content-type-options: nosniff\r\n" in full
    assert b"retry-after: 1\r\n" in full


async def test_who_came_over_tls_is_told_to_do_so_again() -> None:
    doors = house(settings=GatewaySettings(trusted_proxies=("10.0.0.0/8",)))
    told = "strict-transport-security"
    over = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.1"}
    assert told in (await doors.ask("GET", "/a", scheme="https")).headers
    assert told in (await doors.ask("GET", "/a", over, peer="10.0.0.1")).headers
    assert told not in (await doors.ask("GET", "/a", over)).headers
    odd = {**over, "x-forwarded-proto": "javascript"}
    assert told not in (await doors.ask("GET", "/a", odd, peer="10.0.0.1")).headers
    assert [call.payload.headers["x-forwarded-proto"] for _, call in doors.sent] == [
        "https",
        "https",
        "http",
        "http",
    ]


FAULTS = st.builds(
    Fault,
    st.sampled_from(Code),
    st.just(SECRET),
    effect=st.sampled_from(Effect),
    refusal=st.sampled_from([None, *Refusal]),
    retry_after=st.none() | st.floats(0.01, 5),
    origin=st.sampled_from(["", SECRET]),
    hops=st.sampled_from([(), (SECRET,)]),
    extra=st.sampled_from([{}, {"status": 502, "reason": SECRET}, {"errors": [{"detail": "x"}]}]),
)


@given(FAULTS, st.booleans())
def test_no_fault_tells_a_stranger_anything_internal(fault: Fault, raised: bool) -> None:
    async def raising(call: Call[Request]) -> Response:
        # A reason without an origin is the edge's own word for what the client did.
        fault.origin = fault.origin or SECRET
        raise fault

    async def ask() -> Response:
        serve = raising if raised else failing(fault)
        return await house(public("POST"), serving={"service-1": serve}).ask("POST", "/a")

    found = run(ask())
    told = said(found)
    if not raised:
        told.pop("reason", None)  # of a document that the service wrote for the public
    assert SECRET not in str(told)
    assert not [pair for pair in found.headers if SECRET in pair[1] or "switchgear" in pair[0]]
    assert found.status >= 400
    assert told["code"] == fault.code.value


async def test_the_log_is_told_what_the_stranger_is_not() -> None:
    fault = Fault(Code.UNAVAILABLE, SECRET, origin="postgres")
    doors = house(public("POST"), serving={"service-1": failing(fault)})
    call = doors.call("POST", "/a")
    await doors.door.handler(call)
    assert (call.trail.fault, call.trail.detail) == ("unavailable", SECRET)


async def test_what_looks_like_a_fault_is_read_from_failures_only() -> None:
    async def odd(call: Call[Request]) -> Response:
        return json_response(1, 200, Headers({"switchgear-fault": '{"code":"internal"}'}))

    doors = house(serving={"service-1": odd})
    call = doors.call("GET", "/a")
    found = await doors.door.handler(call)
    assert (found.status, call.trail.fault) == (200, "")


READ = (
    "authorization", "connection", "content-type", "grpc-timeout", "host", "switchgear-token",
    "traceparent", "tracestate", "upgrade", "x-envoy-expected-rq-timeout-ms", "x-forwarded-for",
    "x-forwarded-proto", "x-request-id",
)  # fmt: skip
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"))
GIVEN = st.lists(
    st.tuples(st.sampled_from(READ), VALUES | st.sampled_from(["close", "Bearer good"]))
)


@given(GIVEN, st.sampled_from(["10.0.0.1", "192.0.2.1", "::1", "unix", ""]))
def test_whatever_a_stranger_writes_it_is_answered(
    fields: list[tuple[str, str]], peer: str
) -> None:
    async def ask() -> None:
        settings = GatewaySettings(trusted_proxies=("10.0.0.0/8",))
        doors = house(guarded(), public(), settings=settings)
        for path in ("/a", "/mine"):
            found = await doors.ask("GET", path, Headers(fields), peer=peer)
            assert found.status in (200, 401)
            found.headers.wire()
        for _, call in doors.sent:
            call.payload.headers.wire()
            tokens = call.payload.headers.all("switchgear-token")
            assert [token.split()[0] for token in tokens] == ["service"]

    run(ask())


# Sessions


class Quiet(Tunnel):
    """A session in which nobody says anything."""


def upgrading(headers: Mapping[str, str]) -> Callable[[Call[Request]], Awaitable[Response]]:
    async def serve(call: Call[Request]) -> Response:
        if not call.payload.upgrade:
            return await answer(call)
        return Upgrade(101, Headers(headers), Quiet())

    return serve


@pytest.mark.pure
async def test_a_mounted_application_may_change_the_protocol_and_holds_no_permit() -> None:
    told = {"sec-websocket-accept": "x", "server": "x", "switchgear-note": "x"}
    doors = house(
        public("*", "/app", prefix=True), public(), serving={"service-1": upgrading(told)}
    )
    shake = {"sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    found = await doors.ask("GET", "/app/ws", shake, upgrade="websocket")
    assert isinstance(found, Upgrade)
    assert list(found.headers) == [("sec-websocket-accept", "x")]
    assert isinstance(found.body, Quiet)
    assert doors.out() == 0
    assert (await doors.ask("GET", "/a", upgrade="websocket")).status == 200


async def test_a_client_that_leaves_gives_every_permit_back() -> None:
    doors = house(serving={"service-1": hang})
    heard: list[BaseException] = []

    async def drive() -> None:
        try:
            await doors.ask("GET", "/a")
        except BaseException as error:
            heard.append(error)
            raise

    work = step(drive())
    await asyncio.sleep(0.01)
    assert doors.out() > 0
    work.cancel()
    await asyncio.sleep(0.01)
    assert isinstance(heard[0], asyncio.CancelledError)
    assert doors.out() == 0
