"""Named: what the configuration calls by name and an app is to have. A wrong name is no error.

It is served all the same, since the app may be older or newer than its configuration; but nobody
would ever learn that a path which is exempt is none, or that new accounts get a scope of no use.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import zip_longest
from typing import Final

from switchgear.assembly.settings import Settings
from switchgear.gateway.table import RouteEntry
from switchgear.http.methods import SAFE

__all__ = ["misnamed"]

_PARAMETER: Final = re.compile(r"\{[^}]*\}")


def misnamed(settings: Settings, routes: Sequence[RouteEntry]) -> Iterator[str]:
    """Yield what is named and not there, with the name that may be meant."""
    yield from _exempt(settings.gateway.csrf.exempt, routes)
    yield from _scopes(settings.accounts.default_scopes, routes)


def _exempt(exempt: Sequence[str], routes: Sequence[RouteEntry]) -> Iterator[str]:
    """Tell of paths that no route takes by a method that changes something, as a form does."""
    paths = [path for one in routes for method, path in one.templates if method not in SAFE]
    for path in exempt:
        if not any(_meet(path, other) for other in paths):
            near = _near(path, paths)
            yield f"gateway.csrf.exempt: no route takes what a form sends to {path!r}{near}"


def _scopes(granted: Sequence[str], routes: Sequence[RouteEntry]) -> Iterator[str]:
    """Tell of scopes that look like typos; any other one may be asked for by a handler itself."""
    asked = {route.scope for route in routes if route.scope}
    for scope in granted:
        near = _near(scope, asked)
        if scope not in asked and near:
            yield f"accounts.default_scopes: no route asks for the scope {scope!r}{near}"


def _near(name: str, choices: Iterable[str]) -> str:
    """Suggest the name that is near, whatever parameters are called in it."""
    plain = {_PARAMETER.sub("{}", one): one for one in choices}
    found = get_close_matches(_PARAMETER.sub("{}", name), plain, 1, 0.6)
    return f"; did you mean {plain[found[0]]!r}?" if found else ""


def _meet(one: str, other: str) -> bool:
    """Say whether a path may be of both templates."""
    for left, right in zip_longest(one.split("/"), other.split("/")):
        if any(segment is not None and segment.endswith("...}") for segment in (left, right)):
            return True
        if left is None or right is None:
            return False
        if left != right and "{" not in (left[:1], right[:1]):
            return False
    return True
