"""Declarations: what cannot be is refused at its line."""

import re
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import pytest

from switchgear.services.endpoint import Endpoint, Mount


async def nothing() -> None: ...


def endpoint(path: str = "/a", method: str = "GET", **fields: Any) -> Endpoint:
    return Endpoint(method, path, nothing, **fields)


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/{id}", "/a/{user_id}/b.json", "/.well-known/x", "/a:b@c", "/~ada"]
)
def test_what_is_a_path(path: str) -> None:
    assert endpoint(path).name == f"GET {path}"


@pytest.mark.parametrize(
    "path",
    ["", "a", "/a/", "//a", "/a//b", "/a/./b", "/..", "/{Id}", "/{1}", "/a{id}", "/{id}x", "/{}",
     "/a b", "/a%20b", "/größe", "/a;b", "/a?b", "/a#b", "/{id...}", "/a\n", "/a/:id", "/a/*", "/*",
     "/:a/b"],
)  # fmt: skip
def test_what_is_none(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        endpoint(path)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/a/:id", "':id' is no path segment: write plain text or {name}, of a-z"),
        ("/a/{orderId}", "'{orderId}' is no path segment: write plain text or {name}, of a-z"),
        ("/a/{id:int}", "its type is the parameter's annotation"),
        ("/a/", "a path has no empty segment: write /a, not /a/"),
    ],
)
def test_a_path_as_others_write_it_is_told_what_would_be_right(path: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        endpoint(path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "get"}, "the method must be one of GET, HEAD, POST"),
        ({"method": "TRACE"}, "the method must be one of"),
        ({"public": True, "scope": "a"}, "contradict"),
        ({"priority": 9}, r"priority=9 must be 0 \(shed first\) to 8 \(shed last\)"),
        ({"priority": -1}, "priority=-1"),
        ({"deadline": -1.0}, "deadline of -1 s"),
        ({"attempt_timeout": 4.0}, "attempt_timeout=4 s must lie within the deadline of 3 s"),
        ({"method": "POST", "attempt_timeout": 1.0}, "POST /a: attempt_timeout=1 s is for what"),
        ({"method": "PATCH", "attempt_timeout": 1.0}, r"twice \(GET, HEAD, PUT, DELETE, OPTIONS\)"),
        ({"status": 404}, "status=404 is no status of a success"),
        ({"status": 101}, "status=101"),
        ({"scope": "a b"}, "scope='a b' must be one name without blanks"),
        ({"scope": 'a"'}, "must be one name"),
        (
            {"method": "POST", "idempotency": "on"},
            "POST /a: idempotency='on' must be one of optional, required, off",
        ),
        ({"idempotency": "required"}, "GET does no more when it is done twice"),
        ({"method": "PUT", "idempotency": "optional"}, "PUT does no more"),
        (
            {"method": "POST", "public": True, "idempotency": "optional"},
            "contradict each other: nobody is asked who they are",
        ),
    ],
)
def test_figures_that_cannot_be(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        endpoint(**fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"scope": ["a", "b"]}, r"GET /a: scope=\['a', 'b'\] must be a text"),
        ({"scope": None}, "scope=None must be a text"),
        ({"public": "yes"}, "public='yes' must be True or False"),
        ({"priority": "high"}, "priority='high' must be a whole number"),
        ({"priority": 2.5}, "priority=2.5"),
        ({"priority": True}, "priority=True"),
        ({"status": "201"}, "status='201' must be a whole number"),
        ({"method": "POST", "idempotency": True}, "idempotency=True must be a text"),
    ],
)
def test_what_is_of_another_kind_is_told_at_its_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        endpoint(**fields)


def test_names_of_the_standard_library_and_of_the_app_are_taken() -> None:
    class Scope(StrEnum):
        WRITE = "todo:write"

    one = endpoint(status=HTTPStatus.ACCEPTED, scope=Scope.WRITE)
    assert (one.status, one.scope) == (202, "todo:write")


@pytest.mark.parametrize("path", ["", "legacy", "/legacy/", "/{name}", "/a//b", "/.."])
def test_what_is_no_mount(path: str) -> None:
    with pytest.raises(ValueError, match="mount"):
        Mount(path, nothing)


def test_a_mount_has_the_same_bounds() -> None:
    with pytest.raises(ValueError, match=r"\* /a/\*: priority=9"):
        Mount("/a", nothing, priority=9)
    with pytest.raises(ValueError, match=r"\* /a/\*: scope='a b' must be one name"):
        Mount("/a", nothing, scope="a b", public=False)
    assert Mount("/", nothing).templates == ("/{rest...}",)
    assert Mount("/a", nothing).templates == ("/a", "/a/{rest...}")
