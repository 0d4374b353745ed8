"""Routes: from declarations to the gateway's table, and what an app may not claim."""

from typing import Any

import msgspec
import pytest

from switchgear import App, Transaction
from switchgear.accounts.surface import SURFACE
from switchgear.assembly.failures import StartError
from switchgear.assembly.routes import (
    ACCOUNTS,
    KEYS,
    SERVICE,
    app_of,
    declared,
    is_native,
    routes_of,
)
from switchgear.gateway.table import RouteEntry


async def handler(id: str = "") -> None: ...


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def toys() -> App:
    app = App("toys")
    app.get("/users/{id}", scope="read", deadline="60s", priority=2, attempt_timeout="40s")(handler)
    app.mount("/legacy", asgi, deadline="9s")
    return app


def test_declarations_become_routes() -> None:
    found = {route.name: route for route in routes_of(toys())}
    user = found["GET /users/{id}"]
    assert (user.service, user.scope, user.public) == (SERVICE, "read", False)
    assert (user.deadline, user.priority, user.attempt_timeout) == (60.0, 2, 40.0)
    mount = found["* /legacy/*"]
    assert (mount.service, mount.public, mount.prefix, mount.deadline) == (SERVICE, True, True, 9.0)
    assert mount.templates == (("*", "/legacy"), ("*", "/legacy/{rest...}"))
    assert found["GET /openapi.json"].service == SERVICE


def test_who_says_no_deadline_has_the_configured_one() -> None:
    app = toys()
    app.post("/brief")(handler)
    app.mount("/other", asgi)
    found = {route.name: (route.deadline, route.setting) for route in routes_of(app, 60.0)}
    assert found["GET /users/{id}"] == (60.0, "")
    assert found["* /legacy/*"] == (9.0, "")
    assert found["POST /brief"] == found["* /other/*"] == (60.0, "http.deadline")
    endpoints, mounts = declared(app, 60.0)
    assert [one.deadline for one in endpoints] == [60.0, 60.0]
    assert [one.deadline for one in mounts] == [9.0, 60.0]
    (root,) = routes_of(asgi, 60.0)
    assert (root.deadline, root.setting) == (60.0, "http.deadline")


def test_the_table_says_which_routes_heed_keys() -> None:
    async def writes(tx: Transaction) -> None: ...

    app = toys()
    app.post("/a")(writes)
    app.post("/b", idempotency="off")(writes)
    app.post("/c", public=True)(writes)
    app.post("/d")(handler)
    app.put("/e")(writes)
    found = [route.name for route in routes_of(app) if route.keyed]
    assert found == ["POST /a"]
    again = msgspec.json.decode(msgspec.json.encode(routes_of(app)), type=list[RouteEntry])
    assert again == routes_of(app)


def test_accounts_are_routed_as_they_answer() -> None:
    found = {(route.method, route.path): route for route in routes_of(toys())}
    for face in SURFACE:
        route = found[face.method, face.path]
        assert (route.service, route.public) == (ACCOUNTS, True)
        assert (route.deadline, route.sign_in) == (face.deadline, face.credentials)
    assert KEYS in found.values()
    assert [one.path for one in found.values() if one.sign_in] == [
        "/accounts",
        "/tokens",
        "/tokens/refresh",
        "/tokens/revoke",
    ]


def test_any_asgi_application_is_an_app_by_itself() -> None:
    (route,) = routes_of(asgi)
    assert (route.name, route.templates) == ("* /*", (("*", "/{rest...}"),))
    assert not is_native(asgi)
    assert is_native(toys())
    app = toys()
    assert app_of(app) is app


@pytest.mark.parametrize("loaded", [None, 7, "app", {}])
def test_what_is_no_application(loaded: object) -> None:
    with pytest.raises(StartError, match="give an App, or an ASGI application"):
        routes_of(loaded)


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/tokens", "declares POST /tokens, which accounts answers"),
        ("GET", "/.well-known/jwks.json", "which accounts answers"),
        ("GET", "/health/live", "declares GET /health/live, which every gateway answers"),
    ],
)
def test_what_the_platform_answers_is_not_an_apps_to_claim(
    method: str, path: str, words: str
) -> None:
    app = toys()
    app.endpoint(method, path, public=True)(handler)
    with pytest.raises(StartError, match=words):
        routes_of(app)


def test_an_app_may_describe_itself_in_its_own_way() -> None:
    app = toys()
    app.get("/openapi.json", scope="read")(handler)
    assert [route.scope for route in routes_of(app) if route.path == "/openapi.json"] == ["read"]


def test_a_deadline_that_no_gateway_waits_for_is_refused() -> None:
    app = toys()
    app.post("/long", deadline="10min")(handler)
    with pytest.raises(StartError, match="POST /long: a deadline of 600 s; up to 300 s"):
        routes_of(app)
    with pytest.raises(StartError, match=r"a deadline of 400 s \(http.deadline\); up to 300 s"):
        routes_of(asgi, 400.0)
