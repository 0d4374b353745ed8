"""Routing, in situations."""

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from switchgear.policy.route import Found, NoMethod, NoRoute, Route, Router


def router(*lines: str) -> Router[str]:
    """Make a router of lines such as ``GET /users``; a route's value is its line."""
    words = [(*line.split(), line) for line in lines]
    return Router(Route(method, path, line) for method, path, line in words)


def found(match: object) -> tuple[str, dict[str, str]]:
    assert isinstance(match, Found), match
    return match.route.value, dict(match.params)


def test_a_path_without_parameters() -> None:
    routes = router("GET /", "GET /users", "POST /users", "GET /users/")
    assert found(routes.match("GET", "/")) == ("GET /", {})
    assert found(routes.match("POST", "/users")) == ("POST /users", {})
    assert found(routes.match("GET", "/users/")) == ("GET /users/", {})


def test_parameters_take_one_whole_segment() -> None:
    routes = router("GET /users/{id}", "GET /users/{user}/posts/{post}")
    assert found(routes.match("GET", "/users/7")) == ("GET /users/{id}", {"id": "7"})
    assert found(routes.match("GET", "/users/7/posts/a%2Fb")) == (
        "GET /users/{user}/posts/{post}",
        {"user": "7", "post": "a%2Fb"},
    )


@pytest.mark.parametrize(
    "path", ["/users", "/users/", "/users/7/", "/users//", "/users/7/8", "/user/7", "/Users/7", ""]
)
def test_an_unknown_path_is_404(path: str) -> None:
    assert router("GET /users/{id}", "GET /about").match("GET", path) == NoRoute()


@pytest.mark.parametrize("path", ["*", "a", "", "/"])
def test_what_is_no_segment_behind_a_slash_is_no_value(path: str) -> None:
    assert router("OPTIONS /{id}").match("OPTIONS", path) == NoRoute()


def test_a_literal_beside_the_last_parameter_goes_before_it() -> None:
    routes = router("GET /a/{x}", "GET /a/b/{y}", "POST /a/b", "GET /c/{x}", "GET /c/{x}/{rest...}")
    assert found(routes.match("GET", "/a/z")) == ("GET /a/{x}", {"x": "z"})
    assert found(routes.match("GET", "/a/b")) == ("GET /a/{x}", {"x": "b"})
    assert found(routes.match("POST", "/a/b")) == ("POST /a/b", {})
    assert found(routes.match("GET", "/a/b/z")) == ("GET /a/b/{y}", {"y": "z"})
    assert found(routes.match("GET", "/c/z")) == ("GET /c/{x}", {"x": "z"})
    assert found(routes.match("GET", "/c/z/1")) == ("GET /c/{x}/{rest...}", {"x": "z", "rest": "1"})


def test_a_known_path_with_another_method_is_405_with_allow() -> None:
    routes = router("GET /users/{id}", "DELETE /users/{id}", "PUT /about")
    assert routes.match("POST", "/users/7") == NoMethod(("DELETE", "GET", "HEAD"))
    assert routes.match("GET", "/about") == NoMethod(("PUT",))


def test_allow_names_the_methods_of_every_route_that_fits() -> None:
    routes = router("GET /users/me", "DELETE /users/{id}", "PUT /{any...}")
    assert routes.match("POST", "/users/me") == NoMethod(("DELETE", "GET", "HEAD", "PUT"))


def test_get_answers_head_unless_head_has_a_route() -> None:
    routes = router("GET /a", "GET /b", "HEAD /b")
    assert found(routes.match("HEAD", "/a"))[0] == "GET /a"
    assert found(routes.match("HEAD", "/b"))[0] == "HEAD /b"


def test_a_literal_goes_before_a_parameter_before_a_rest() -> None:
    routes = router("GET /a/b/c", "GET /a/{x}/c", "GET /a/b/{y}", "GET /{rest...}")
    assert found(routes.match("GET", "/a/b/c"))[0] == "GET /a/b/c"
    assert found(routes.match("GET", "/a/b/d")) == ("GET /a/b/{y}", {"y": "d"})
    assert found(routes.match("GET", "/a/z/c")) == ("GET /a/{x}/c", {"x": "z"})
    assert found(routes.match("GET", "/a/z/d")) == ("GET /{rest...}", {"rest": "a/z/d"})


def test_a_literal_way_that_ends_in_nothing_gives_way_to_the_parameter() -> None:
    routes = router("GET /users/me/posts", "GET /users/{id}/likes")
    assert found(routes.match("GET", "/users/me/likes")) == (
        "GET /users/{id}/likes",
        {"id": "me"},
    )


def test_a_literal_segment_that_leads_nowhere_gives_way_to_the_parameter() -> None:
    routes = router("GET /me/{list}/old", "GET /{user}/posts/{id}")
    assert found(routes.match("GET", "/me/posts/7"))[1] == {"user": "me", "id": "7"}


def test_the_wrong_method_on_a_literal_gives_way_to_the_parameter() -> None:
    routes = router("GET /users/me", "DELETE /users/{id}")
    assert found(routes.match("DELETE", "/users/me")) == ("DELETE /users/{id}", {"id": "me"})


AMONG = (
    "GET /a/b", "GET /users/{id}", "GET /users/{id}/posts/{n}", "GET /x/{a}", "HEAD /x/{a}",
    "GET /x/b/{c}", "GET /files/{path...}", "GET /files/known/{n}",
)  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "leads", "values"),
    [
        ("GET", "/a/b", "GET /a/b", []),
        ("GET", "/users/7", "GET /users/{id}", ["7"]),
        ("GET", "/users/7/posts/8", "GET /users/{id}/posts/{n}", ["7", "8"]),
        ("GET", "/x/b/1", None, []),  # "b" may be meant, or any "a"
        ("HEAD", "/a/b", "GET /a/b", []),
        ("HEAD", "/users/7", "GET /users/{id}", ["7"]),
        ("GET", "/x/b", None, []),
        ("GET", "/files/a/b", "GET /files/{path...}", ["a/b"]),
        ("GET", "/files/known/1", None, []),  # or any path of "files"
        ("GET", "/files", None, []),
        ("GET", "/users/", None, []),
        ("GET", "/users/7/", None, []),
        ("GET", "/users/7/posts/8/9", None, []),
        ("GET", "/nobody", None, []),
    ],
)
def test_where_there_is_one_way_only_it_is_taken_without_a_look_at_others(
    method: str, path: str, leads: str | None, values: list[str]
) -> None:
    routes = router(*AMONG)
    leaf, found_values = routes._plainly(method, path)
    assert (None if leaf is None else leaf.found.route.value) == leads
    if leads is not None:
        assert list(found_values) == values
        assert routes.lead(method, path) == leads


def test_a_route_of_head_goes_before_that_of_get_wherever_there_are_others() -> None:
    assert found(router(*AMONG).match("HEAD", "/x/b")) == ("HEAD /x/{a}", {"a": "b"})


def test_a_mount_takes_every_method_and_the_rest_of_the_path() -> None:
    routes = router("* /legacy/{rest...}", "GET /legacy/new")
    assert found(routes.match("PATCH", "/legacy/a/b//c"))[1] == {"rest": "a/b//c"}
    assert found(routes.match("GET", "/legacy/"))[1] == {"rest": ""}
    assert found(routes.match("GET", "/legacy/new"))[0] == "GET /legacy/new"
    assert found(routes.match("POST", "/legacy/new"))[0] == "* /legacy/{rest...}"
    assert routes.match("GET", "/legacy") == NoRoute()


def test_names_may_differ_between_routes_of_one_shape() -> None:
    routes = router("GET /{a}", "PUT /{b}", "GET /{c}/x")
    assert found(routes.match("GET", "/1"))[1] == {"a": "1"}
    assert found(routes.match("PUT", "/1"))[1] == {"b": "1"}
    assert found(routes.match("GET", "/1/x"))[1] == {"c": "1"}


@pytest.mark.parametrize("path", ["/users", "/{id}", "/a/{rest...}"])
def test_two_routes_that_claim_the_same_are_refused(path: str) -> None:
    other = path.replace("id", "key").replace("rest", "all")
    with pytest.raises(ValueError, match=r"^GET .* is taken already, by "):
        router(f"GET {path}", f"GET {other}")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("users", "does not begin with a slash"),
        ("/{id}.json", r"'\{id\}.json' would be right as \{name\}, a whole segment"),
        ("/{2}", "whole segment"),
        ("/{}", "whole segment"),
        ("/a}", "whole segment"),
        ("/{a", "whole segment"),
        ("/{all...}/x", "at the end only"),
        ("/{id}/{id}", "names 'id' twice"),
    ],
)
def test_a_malformed_template_says_what_would_be_right(path: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        router(f"GET {path}")


def test_found_parameters_belong_to_the_caller_alone() -> None:
    routes = router("GET /{id}", "GET /about/us")
    assert found(routes.match("GET", "/1"))[1] == {"id": "1"}
    assert found(routes.match("GET", "/2"))[1] == {"id": "2"}
    match = routes.match("GET", "/about/us")
    assert isinstance(match, Found)
    with pytest.raises(TypeError):
        match.params["x"] = "1"  # type: ignore[index]  # the point of it


def lines_run(routes: Router[str], path: str) -> int:
    """Count the lines that one match runs: a cost that no clock has to measure.

    Those of the router alone: what the garbage collector ends meanwhile may run some of its own.
    """
    count = 0
    ours = Router.match.__code__.co_filename

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "line" and frame.f_code.co_filename == ours
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        routes.match("GET", path)
    finally:
        sys.settrace(before)
    return count


def many(count: int) -> Iterator[str]:
    for number in range(count):
        yield f"GET /fixed/{number}"
        yield f"GET /service{number}/users/{{id}}"
        yield f"GET /by/{{name}}/tag{number}"


@pytest.mark.pure
def test_the_cost_is_flat_up_to_ten_thousand_routes() -> None:
    few, all_of_them = router(*many(2)), router(*many(3334))
    for path in ("/fixed/1", "/service1/users/7", "/by/ada/tag1", "/nowhere", "/by/ada/nothing"):
        assert lines_run(all_of_them, path) == lines_run(few, path)


@pytest.mark.pure
def test_a_path_of_slashes_costs_no_more_than_another() -> None:
    routes = router("GET /{a}/{b}", "GET /{a}/{b}/{rest...}")
    match = routes.match("GET", "/a/b/" + "/" * 8000)
    assert found(match)[1]["rest"] == "/" * 8000
    assert lines_run(routes, "/" * 8000) <= lines_run(routes, "/a/b/c")
