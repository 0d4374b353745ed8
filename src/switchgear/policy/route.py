"""Routing: from a method and a path to what answers them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, TypeVar

from switchgear.policy.native import native

__all__ = ["Found", "NoMethod", "NoRoute", "Route", "Router"]

T = TypeVar("T")


class Route(NamedTuple, Generic[T]):
    """One entry: `method` (or ``*`` for any) and `path` template lead to `value`.

    A path segment is literal, ``{name}`` for any one segment that is not empty, or, at the
    end only, ``{name...}`` for all the rest, which may be empty.
    """

    method: str
    path: str
    value: T


@native(free_list_len=1)
class Found(Generic[T]):
    """The route that answers, and the parameters as they stand in the path, not decoded."""

    __slots__ = ("params", "route")

    def __init__(self, route: Route[T], params: Mapping[str, str]) -> None:
        self.route = route
        self.params = params


class NoMethod(NamedTuple):
    """The path is known, not for this method (405): the methods for `Allow`, sorted."""

    allow: tuple[str, ...]


class NoRoute(NamedTuple):
    """The path is not known (404)."""


_NO_PARAMS: Final[Mapping[str, str]] = MappingProxyType({})
_NO_ROUTE: Final = NoRoute()


class _Leaf(Generic[T]):
    """What a route's template ends in: what is found there, complete where it has no parameters."""

    __slots__ = ("found", "names")

    def __init__(self, found: Found[T], names: tuple[str, ...]) -> None:
        self.found = found
        self.names = names

    def with_values(self, values: Sequence[str]) -> Found[T]:
        """Return what is found where the parameters have these values."""
        params: dict[str, str] = {}
        for place, name in enumerate(self.names):
            params[name] = values[place]
        return Found(self.found.route, params)


class _Node(Generic[T]):
    """One place in the tree: what ends here, by method, and how to go on."""

    __slots__ = ("here", "literal", "param", "rest")

    def __init__(self) -> None:
        self.here: dict[str, _Leaf[T]] = {}
        self.literal: dict[str, _Node[T]] = {}
        self.param: _Node[T] | None = None
        self.rest: _Node[T] | None = None


class Router(Generic[T]):
    """Find the route of a path, at a cost that does not grow with the number of routes.

    Paths without parameters are one dictionary; the others a tree by segments, whose paths with one
    parameter, at their end, are found by what stands before it. A literal segment goes before a
    parameter, a parameter before a rest; where the more literal path ends in nothing
    or lacks the method, the next is tried. GET answers HEAD. The path must have been normalised
    and carry no query; ``/a`` and ``/a/`` are two paths.

    Raises:
        ValueError: a template is malformed, or two routes claim the same.
    """

    def __init__(self, routes: Iterable[Route[T]]) -> None:
        self._fixed: dict[str, _Node[T]] = {}
        self._root: _Node[T] = _Node()
        self._tails: dict[str, _Node[T]] = {}  # where one way leads, to a parameter's node
        self._depth = 0
        for route in routes:
            self._add(route)
        self._note_tails(self._root, "")

    def match(self, method: str, path: str) -> Found[T] | NoMethod | NoRoute:
        """Return the route that answers, or why there is none."""
        leaf, values = self._plainly(method, path)
        if leaf is not None:
            if not values:
                return leaf.found
            return leaf.with_values(values)
        known: list[_Node[T]] = []  # the path leads here, but not by this method
        fixed = self._fixed.get(path)
        if fixed is not None:
            leaf = _choose(fixed, method)
            if leaf is not None:
                return leaf.found
            known.append(fixed)
        for node, values in self._ends(path):
            leaf = _choose(node, method)
            if leaf is not None:
                return leaf.with_values(values)
            known.append(node)
        return NoMethod(_allow(known)) if known else _NO_ROUTE

    def lead(self, method: str, path: str) -> T | NoMethod | NoRoute:
        """Return only where the path leads, as `match` does: for who needs no parameters."""
        leaf, _ = self._plainly(method, path)
        if leaf is not None:
            return leaf.found.route.value
        found = self.match(method, path)
        return found.route.value if isinstance(found, Found) else found

    def _plainly(self, method: str, path: str) -> "tuple[_Leaf[T] | None, Sequence[str]]":
        """Walk down where there is one way only: nearly always.

        No leaf says nothing: there may be other ways.
        """
        fixed = self._fixed.get(path)
        if fixed is not None:
            return _choose(fixed, method), ()
        last = path.rfind("/")
        tail = self._tails.get(path[:last]) if last >= 0 else None
        if tail is not None and tail.param is not None:
            segment = path[last + 1 :]
            if segment and segment not in tail.literal:
                return _choose(tail.param, method), (segment,)
        values: list[str] = []
        node = self._root
        segments = path.split("/", self._depth + 1)
        for place in range(1, len(segments)):
            segment = segments[place]
            following = node.literal.get(segment) if node.literal else None
            if node.rest is not None:
                if following is not None or node.param is not None:
                    return None, ()
                values.append("/".join(segments[place:]))
                return _choose(node.rest, method), values
            if following is None:
                following = node.param
                if following is None or not segment:
                    return None, ()
                values.append(segment)
            elif node.param is not None:
                return None, ()
            node = following
        return _choose(node, method), values

    def _ends(self, path: str) -> Iterator[tuple[_Node[T], tuple[str, ...]]]:
        """Walk the tree, and yield where the path ends in it, the most literal way first."""
        # Split no further than the tree is deep: a path of slashes costs no more than another.
        segments = path.split("/", self._depth + 1)
        end = len(segments)
        others: list[tuple[_Node[T], int, tuple[str, ...]]] = [(self._root, 1, ())]
        while others:
            following: _Node[T] | None
            following, place, values = others.pop()
            while following is not None and place < end:
                node, segment = following, segments[place]
                if node.rest is not None:
                    others.append((node.rest, end, (*values, "/".join(segments[place:]))))
                place += 1
                following = node.literal.get(segment)
                if node.param is not None and segment:
                    if following is None:
                        following, values = node.param, (*values, segment)
                    else:
                        others.append((node.param, place, (*values, segment)))
            if following is not None and following.here:
                yield following, values

    def _add(self, route: Route[T]) -> None:
        segments = _parse(route.path)
        names = tuple(name for name, _ in segments if name)
        if names:
            node = self._root
            for name, segment in segments:
                node = _grow(node, name, segment)
            self._depth = max(self._depth, len(segments))
        else:
            node = self._fixed.setdefault(route.path, _Node())
        taken = node.here.get(route.method)
        if taken is not None:
            raise ValueError(
                f"{route.method} {route.path} is taken already, by {taken.found.route.path}"
            )
        node.here[route.method] = _Leaf(Found(route, _NO_PARAMS), names)

    def _note_tails(self, node: _Node[T], path: str) -> None:
        """Note what ends in a parameter, and is led to by one way of literal segments."""
        if node.rest is not None:
            return
        if node.param is not None:
            self._tails[path] = node
            return
        for segment, following in node.literal.items():
            self._note_tails(following, f"{path}/{segment}")


def _choose(node: _Node[T], method: str) -> _Leaf[T] | None:
    here = node.here
    leaf = here.get(method)
    if leaf is None and method == "HEAD":
        leaf = here.get("GET")
    return here.get("*") if leaf is None else leaf


def _allow(nodes: list[_Node[T]]) -> tuple[str, ...]:
    methods = {method for node in nodes for method in node.here}
    return tuple(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def _grow(node: _Node[T], name: str, segment: str) -> _Node[T]:
    """Return the child for one segment, which is made if need be."""
    if not name:
        return node.literal.setdefault(segment, _Node())
    if segment.endswith("...}"):
        node.rest = node.rest or _Node()
        return node.rest
    node.param = node.param or _Node()
    return node.param


_PARAM: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}")


def _parse(path: str) -> list[tuple[str, str]]:
    """Split a template into segments, each with the name of its parameter or an empty one."""
    if not path.startswith("/"):
        raise ValueError(f"route path {path!r} does not begin with a slash")
    segments = path.split("/")[1:]
    parsed: list[tuple[str, str]] = []
    for number, segment in enumerate(segments, 1):
        param = _PARAM.fullmatch(segment)
        if param is None:
            if "{" in segment or "}" in segment:
                raise ValueError(
                    f"route path {path!r}: {segment!r} would be right as {{name}}, a whole segment"
                )
            parsed.append(("", segment))
            continue
        if param[2] and number < len(segments):
            raise ValueError(f"route path {path!r}: {segment!r} would be right at the end only")
        if any(name == param[1] for name, _ in parsed):
            raise ValueError(f"route path {path!r} names {param[1]!r} twice")
        parsed.append((param[1], segment))
    return parsed
