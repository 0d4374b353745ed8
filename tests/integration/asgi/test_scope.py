"""What an app is told of its request: every key of the scope, as the bytes on the wire have it."""

from typing import Any

import pytest

from switchgear.http.asgi import AsgiHost
from switchgear.http.message import Request
from switchgear.policy.call import Call
from tests.integration.asgi.hosts import answer, hosted

pytestmark = pytest.mark.usefixtures("loop_factory")


def keeping() -> tuple[Any, list[Any]]:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["pool"] = pool
            assert (await receive())["type"] == "lifespan.startup"
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            await send({"type": "lifespan.shutdown.complete"})
            return
        scopes.append(scope)
        scope["state"]["mine"] = scope["path"]
        await answer(send)

    pool: list[str] = []
    return app, scopes


async def test_every_key_is_there_and_as_the_wire_has_it(loop_factory: Any) -> None:
    app, (scopes) = keeping()
    async with hosted(app, root_path="/mounted", lifespan=True) as at:
        client = await at.raw(
            "POST /mounted/caf%c3%a9/%7Ea?x=%20&y HTTP/1.1", "HOST: a.example", "X-Twice: one",
            "X-Twice: two", "Content-Length: 0", "TE: trailers",
        )  # fmt: skip
        await client.until(b"\r\n\r\n")
        name = client.writer.get_extra_info("sockname")
        await client.close()
    (scope,) = scopes
    extensions = scope.pop("extensions")
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/mounted/café/~a",
        "raw_path": b"/mounted/caf%C3%A9/~a",  # the normal form, which was routed
        "query_string": b"x=%20&y",
        "root_path": "/mounted",
        "headers": [
            (b"host", b"a.example"), (b"x-twice", b"one"), (b"x-twice", b"two"),
            (b"content-length", b"0"), (b"te", b"trailers"),
        ],
        "client": (name[0], name[1]),
        "server": ("127.0.0.1", at.port),
        "state": {"pool": [], "mine": "/mounted/café/~a"},
    }  # fmt: skip
    assert isinstance(extensions.pop("switchgear")["call"], Call)
    assert extensions == {
        "http.response.trailers": {},
        "http.response.pathsend": {},
        "http.response.early_hint": {},
    }


async def test_an_old_client_is_offered_what_it_can_take(loop_factory: Any) -> None:
    app, scopes = keeping()
    async with hosted(app, lifespan=True) as at:
        await at.said("GET /a HTTP/1.0", "TE: trailers")
        await at.ask("/b")
    assert scopes[0]["http_version"] == "1.0"
    assert [sorted(scope["extensions"]) for scope in scopes] == [
        ["http.response.pathsend", "switchgear"],
        ["http.response.early_hint", "http.response.pathsend", "switchgear"],
    ]


async def test_the_state_is_shared_by_its_values_and_not_by_its_names(loop_factory: Any) -> None:
    app, scopes = keeping()
    async with hosted(app, lifespan=True) as at:
        await at.ask("/a")
        await at.ask("/b")
    assert [scope["state"]["mine"] for scope in scopes] == ["/a", "/b"]
    assert scopes[0]["state"]["pool"] is scopes[1]["state"]["pool"]
    assert "mine" not in at.host._lifespan.state


async def test_a_client_that_a_proxy_has_told_of_has_no_port(loop_factory: Any) -> None:
    app, scopes = keeping()
    host = AsgiHost(app)
    told = Call(Request("GET", "/", peer="192.0.2.7"), 0.0)
    await host(told)
    assert (scopes[0]["client"], scopes[0]["server"]) == (("192.0.2.7", 0), None)
    await host.stop()
