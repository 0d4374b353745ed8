"""What pages of other origins are told, whatever comes of what they ask."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.gateway.forward import outwards
from switchgear.gateway.settings import CorsSettings, GatewaySettings, Limit
from switchgear.gateway.table import RouteEntry
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.testing.virtual import clock, run
from tests.support.gateway import House, Serve, answer, hang, public, verified

pytestmark = pytest.mark.virtual

PAGE = {"origin": "https://app.example", "sec-fetch-site": "cross-site"}
ASKS = {**PAGE, "access-control-request-method": "PUT"}
ALLOW, EXPOSE = "access-control-allow-origin", "access-control-expose-headers"
USERS = (
    RouteEntry("GET", "/users/{id}", "service"),
    RouteEntry("PUT", "/users/{id}", "service", "write"),
    RouteEntry("DELETE", "/users/ada", "service"),
)


def house(*routes: RouteEntry, serve: Serve = answer, **fields: Any) -> House:
    settings = GatewaySettings(**{"origins": (PAGE["origin"],), **fields})
    return House(
        routes or (public("*", "/a"),),
        {"service-1": serve},
        settings,
        tokens={"good": verified("ada")},
        local={"/health": lambda: (200, {})},
    )


# Preflights


async def test_a_preflight_is_told_which_methods_a_path_takes() -> None:
    doors = house(*USERS)
    asked = {
        "/users/7": "GET, HEAD, PUT",
        "/users/ada": "DELETE, GET, HEAD, PUT",
        "/health": "GET, HEAD",
    }
    for path, takes in asked.items():
        found = await doors.ask("OPTIONS", path, ASKS)
        assert (found.status, found.body) == (204, b"")
        assert found.headers["access-control-allow-methods"] == found.headers["allow"] == takes
        assert found.headers[ALLOW] == PAGE["origin"]
    assert doors.sent == []
    assert doors.asked == []


async def test_a_preflight_is_shed_and_limited_like_anything_else() -> None:
    doors = house(*USERS, address=Limit(1, 1))
    assert (await doors.ask("OPTIONS", "/users/7", ASKS)).status == 204
    found = await doors.ask("OPTIONS", "/users/7", ASKS)
    assert (found.status, found.headers[ALLOW]) == (429, PAGE["origin"])
    assert "access-control-allow-methods" not in found.headers
    doors = house(*USERS)
    for _ in range(40):
        doors.shedder.observe_lag(0.9, clock())
        await asyncio.sleep(0.05)
    found = await doors.ask("OPTIONS", "/users/7", ASKS)
    assert (found.status, found.headers[ALLOW]) == (503, PAGE["origin"])


async def test_who_is_refused_is_told_of() -> None:
    doors = house()
    told: list[Any] = []
    doors.door.refused = lambda *one: told.append(one)
    found = await doors.ask("OPTIONS", "/a", {**ASKS, "origin": "https://evil.example"})
    assert (found.status, ALLOW in found.headers) == (403, False)
    why = "the origin 'https://evil.example' is not among gateway.origins"
    assert told == [("192.0.2.1", "origin", 403, why)]


# Answers


async def test_whatever_is_refused_a_listed_page_can_read_why() -> None:
    doors = house(public("POST"), *USERS, address=Limit(1, 4))
    asked = [
        (401, "GET", "/users/1", {}, "www-authenticate"),
        (403, "PUT", "/users/1", {"authorization": "Bearer good"}, "x-request-id"),
        (404, "GET", "/nothing", {}, "x-request-id"),
        (405, "DELETE", "/users/1", {}, "allow"),
        (429, "POST", "/a", {}, "retry-after, ratelimit"),
    ]
    for status, method, path, more, readable in asked:
        found = await doors.ask(method, path, {**PAGE, **more})
        assert (found.status, found.headers.get(ALLOW)) == (status, PAGE["origin"])
        assert readable in found.headers[EXPOSE]
        assert "x-content-type-options" not in found.headers[EXPOSE]
        assert found.headers["vary"] == "Origin"


async def test_so_it_can_where_the_service_fails_or_hangs() -> None:
    async def broken(call: Call[Request]) -> Response:
        raise Fault(Code.UNAVAILABLE, "away", retry_after=2.0)

    for serve, status in ((broken, 503), (hang, 504)):
        found = await house(public("POST"), serve=serve).ask("POST", "/a", PAGE)
        assert (found.status, found.headers.get(ALLOW)) == (status, PAGE["origin"])


@pytest.mark.parametrize("origins", [("*",), ("null",), ("https://b", "*"), ()])
def test_any_page_is_never_given_cookies(origins: tuple[str, ...]) -> None:
    """Rule 38; it is refused where it is set, for no browser would say why."""
    with pytest.raises(ValueError, match=r"origins is .* with cors\.credentials"):
        GatewaySettings(origins=origins, cors=CorsSettings(credentials=True))


listed = st.lists(
    st.sampled_from(["*", "null", "https://a", "https://b"]), max_size=3, unique=True
).map(tuple)
askers = st.sampled_from([None, "null", "*", "https://a", "https://b", "https://a, https://b"])
said = st.lists(
    st.tuples(
        st.sampled_from([ALLOW, "access-control-allow-credentials", "vary", "x-own"]),
        st.sampled_from(["*", "true", "https://a", "", "Accept", "Origin"]),
    ),
    max_size=5,
)


@given(listed, st.booleans(), askers, said)
def test_who_may_read_is_said_once_and_by_one(
    origins: tuple[str, ...], credentials: bool, asker: str | None, own: list[tuple[str, str]]
) -> None:
    credentials = credentials and bool(origins) and {"*", "null"}.isdisjoint(origins)
    headers = Headers(own)

    async def serve(call: Call[Request]) -> Response:
        return Response(200, headers)

    async def ask() -> Response:
        cors = CorsSettings(credentials=credentials)
        doors = house(serve=serve, origins=origins, cors=cors)
        return await doors.ask("GET", "/a", {} if asker is None else {"origin": asker})

    found = run(ask()).headers
    if not origins:
        assert found.all(ALLOW) == headers.all(ALLOW)
        assert found.all("vary") == headers.all("vary")
        return
    exact = asker in origins and asker != "*"
    anyone = "*" in origins and asker is not None
    assert found.all(ALLOW) == ([asker] if exact else ["*"] if anyone else [])
    assert found.all("access-control-allow-credentials") == ["true"] * (credentials and exact)
    (vary,) = found.all("vary")
    assert {"*", "origin"} & {one.strip().lower() for one in vary.split(",")}
    assert len(found.all("cross-origin-resource-policy")) == 1


def test_what_an_answer_hangs_on_is_one_field() -> None:
    def vary(*values: str) -> str:
        told = Headers([("vary", value) for value in values])
        (one,) = outwards(told, [], secure=False, shared=True).all("vary")
        return one

    assert vary() == vary("") == "Origin"
    assert vary("Accept", "", "Cookie") == "Accept, Cookie, Origin"
    assert vary("accept,ORIGIN") == "accept,ORIGIN"
    assert vary("*") == "*"
    assert vary("X-Origin") == "X-Origin, Origin"
