"""Apps: every declaration is checked at its own line."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from switchgear import App
from switchgear.assembly.failures import StartError
from switchgear.assembly.foreign import misshapen
from switchgear.assembly.routes import app_of


async def handler() -> None: ...


def plain() -> None: ...


async def each() -> AsyncIterator[int]:
    yield 1


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def test_an_app_stands_where_its_file_does(tmp_path: Path) -> None:
    assert App("toys").folder == Path(__file__).parent
    assert App("toys", folder=tmp_path).folder == tmp_path

    class Own(App):
        def __init__(self) -> None:
            super().__init__("own", folder=tmp_path)

    assert Own().folder == tmp_path


@pytest.mark.parametrize("name", ["", "a b", "a/b", "--", "a\n"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="app name"):
        App(name)


@pytest.mark.parametrize("name", [3, None, handler])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(TypeError, match=r"an app has a name first, as in App\('orders'\)"):
        App(name)


def test_a_scope_that_is_empty_opens_nothing() -> None:
    """As a variable is that nobody has set: the route would take any token, or none."""
    app = App("toys")
    with pytest.raises(ValueError, match="GET /a: scope='' names none"):
        app.get("/a", scope="")(handler)
    with pytest.raises(ValueError, match="mount '/b': scope='' names none"):
        app.mount("/b", asgi, scope="")
    app.get("/a", scope=None)(handler)
    assert app.endpoints[0].scope == ""


def test_each_method_is_declared_with_its_options() -> None:
    app = App("toys")
    for method in ("get", "post", "put", "patch", "delete"):
        declare = getattr(app, method)
        options = {} if method in ("post", "patch") else {"attempt_timeout": "100ms"}
        declared = declare("/a", scope="x", deadline="250ms", priority=3, **options)
        assert declared(handler) is handler
    assert [one.method for one in app.endpoints] == ["GET", "POST", "PUT", "PATCH", "DELETE"]
    for one in app.endpoints:
        assert (one.path, one.scope, one.public) == ("/a", "x", False)
        assert (one.deadline, one.priority) == (0.25, 3)
        assert one.attempt_timeout == (0.1 if one.repeatable else 0.0)
    app.endpoint("OPTIONS", "/a", public=True)(handler)
    assert app.endpoints[-1].attempt_timeout == 0.0


def test_what_a_key_is_to_a_handler_is_said_with_it() -> None:
    app = App("toys")
    app.post("/a")(handler)
    app.post("/b", idempotency="required")(handler)
    app.post("/c", idempotency=None)(handler)
    assert [one.idempotency for one in app.endpoints] == ["", "required", ""]
    with pytest.raises(ValueError, match="must be one of optional, required, off"):
        app.post("/d", idempotency="yes")(handler)  # type: ignore[arg-type]  # the wrong word
    with pytest.raises(ValueError, match="GET does no more when it is done twice"):
        app.get("/e", idempotency="optional")(handler)


def test_a_handler_is_async() -> None:
    app = App("toys")
    for declare in (app.get("/a"), app.consumer("a")):
        with pytest.raises(TypeError, match=r"(GET /a|consumer a): 'plain' must be `async def`"):
            declare(plain)  # type: ignore[type-var]  # the point of it
        with pytest.raises(TypeError, match="'each' must return its answer, not `yield` it"):
            declare(each)  # type: ignore[type-var]  # the point of it
    assert app.endpoints == []


@pytest.mark.parametrize("deadline", ["2", "2 days", "", -1, 0, float("nan"), float("inf")])
def test_what_is_no_deadline(deadline: Any) -> None:
    app = App("toys")
    with pytest.raises(ValueError, match="no duration"):
        app.get("/a", deadline=deadline)(handler)
    with pytest.raises(ValueError, match="no duration"):
        app.consumer("a", deadline=deadline)(handler)
    with pytest.raises(ValueError, match="no duration"):
        app.mount("/a", asgi, deadline=deadline)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="dead_line"):
        App("toys").get("/a", dead_line=3)  # type: ignore[call-arg]  # the typo under test


@pytest.mark.parametrize(
    ("option", "right"),
    [
        ("status_code", "write status="),
        ("response_model", "annotate what the function returns"),
        ("staus", "did you mean status=?"),
        ("colour", "there are scope, public, deadline, priority, status, attempt_timeout, idemp"),
    ],
)
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_an_option_of_another_framework_is_told_what_stands_for_it(
    method: str, option: str, right: str
) -> None:
    with pytest.raises(TypeError) as raised:
        getattr(App("toys"), method)("/a", **{option: 1})
    told = f"{method.upper()} /a: there is no option {option!r}: {right}"
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("websocket", "an App has no 'websocket': mount an ASGI application that has it"),
        ("include_router", "an App has no 'include_router': let the other modules import"),
        ("on_event", "an App has no 'on_event': nothing is called at start and end"),
        ("colour", "an App has no 'colour'"),
    ],
)
def test_a_member_of_another_framework_is_told_what_stands_for_it(name: str, told: str) -> None:
    app = App("toys")
    with pytest.raises(AttributeError) as raised:
        getattr(app, name)
    assert str(raised.value).startswith(told)
    assert not hasattr(app, name)


def test_nothing_is_declared_twice() -> None:
    app = App("toys")
    app.get("/a")(handler)
    app.post("/a")(handler)
    app.consumer("a")(handler)
    app.mount("/m", asgi)
    with pytest.raises(ValueError, match=r"GET /a is declared twice: GET /a is handler \(.*py:\d"):
        app.get("/a")(handler)
    app.get("/a/{id}/b")(handler)
    with pytest.raises(ValueError, match=r"GET /a/\{no\}/b is declared twice: GET /a/\{id\}/b is"):
        app.get("/a/{no}/b")(handler)
    app.get("/a/{no}")(handler)
    with pytest.raises(ValueError, match="consumer a is declared twice"):
        app.consumer("a")(handler)
    with pytest.raises(ValueError, match="mount '/m' is declared twice"):
        app.mount("/m", asgi)


def test_a_topic_that_is_forgotten_loses_no_consumer_in_silence() -> None:
    with pytest.raises(TypeError, match=r'write @app\.consumer\("topic"\)'):
        App("toys").consumer(handler)  # type: ignore[arg-type]  # the mistake under test


async def of_two(environ: Any, start_response: Any) -> None: ...


class Framework:
    def __init__(self, title: str = "") -> None:
        self.title = title

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class PerRequest:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any: ...


@pytest.mark.parametrize(
    "application",
    [
        asgi,
        Framework(),
        PerRequest,
        partial(asgi),
        lambda *three: None,
        Framework().__call__,
    ],
)
def test_what_has_the_shape_of_an_application(application: Any) -> None:
    assert misshapen(application) == ""
    App("toys").mount("/m", application)
    assert app_of(application).mounts[0].application is application


@pytest.mark.parametrize(
    ("application", "words"),
    [
        (of_two, "of_two takes (environ, start_response): if that is WSGI, wrap it"),
        (Framework, "the class Framework is made with (title): give an instance of it"),
        (handler, "handler takes (): if it makes the application, give what it returns"),
        (lambda scope: asgi, "<lambda> takes (scope)"),
        (asgi.__code__, "a code cannot be"),
    ],
)
def test_what_has_not_is_told_where_it_is_given(application: Any, words: str) -> None:
    with pytest.raises(TypeError, match=r"^mount '/m': an ASGI application is called"):
        App("toys").mount("/m", application)
    assert words in misshapen(application)
    with pytest.raises(StartError, match="ASGI application"):
        app_of(application)


def test_a_mount_is_an_application() -> None:
    with pytest.raises(TypeError, match=r"mount .*a NoneType cannot be"):
        App("toys").mount("/m", None)  # type: ignore[arg-type]  # the mistake under test


def test_an_app_is_not_mounted_in_another() -> None:
    words = "mount '/a': an App serves what is declared on it: let the other modules import this"
    with pytest.raises(TypeError, match=words):
        App("toys").mount("/a", App("others"))  # type: ignore[arg-type]  # the mistake under test


def test_a_mount_is_public_unless_it_asks_for_something() -> None:
    app = App("toys")
    app.mount("/a", asgi)
    app.mount("/b", asgi, scope="read")
    app.mount("/c", asgi, public=False)
    assert [(one.public, one.scope) for one in app.mounts] == [
        (True, ""),
        (False, "read"),
        (False, ""),
    ]
