"""Declarations: what cannot be is refused at its line."""

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
     "/a b", "/a%20b", "/größe", "/a;b", "/a?b", "/a#b", "/{id...}", "/a\n"],
)  # fmt: skip
def test_what_is_none(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        endpoint(path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "get"}, "the method must be one of GET, HEAD, POST"),
        ({"method": "TRACE"}, "the method must be one of"),
        ({"public": True, "scope": "a"}, "contradict"),
        ({"priority": 9}, r"priority=9 must be 0 \(shed first\) to 8 \(shed last\)"),
        ({"priority": -1}, "priority=-1"),
        ({"deadline": 0.0}, "deadline of 0 s"),
        ({"attempt_timeout": 4.0}, "attempt_timeout=4 s must lie within the deadline of 3 s"),
        ({"status": 404}, "status=404 is no status of a success"),
        ({"status": 101}, "status=101"),
    ],
)
def test_figures_that_cannot_be(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        endpoint(**fields)


@pytest.mark.parametrize("path", ["", "legacy", "/legacy/", "/{name}", "/a//b", "/.."])
def test_what_is_no_mount(path: str) -> None:
    with pytest.raises(ValueError, match="mount"):
        Mount(path, nothing)


def test_a_mount_has_the_same_bounds() -> None:
    with pytest.raises(ValueError, match=r"\* /a/\*: priority=9"):
        Mount("/a", nothing, priority=9)
    assert Mount("/", nothing).templates == ("/{rest...}",)
    assert Mount("/a", nothing).templates == ("/a", "/a/{rest...}")
