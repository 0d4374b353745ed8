"""Elsewhere: what other frameworks have on their application, and what stands for it here.

Whoever comes from one writes it out of habit, and reads only that there is none.
"""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

__all__ = ["MODULES", "no_member", "no_option"]

_ROUTES: Final = "write @app.get, post, put, patch or delete"
MODULES: Final = "let the other modules import this App, and declare on it"
_HOOKS: Final = (
    "nothing is called at start and end: make it in the module, or in the lifespan of a mounted"
    " ASGI application"
)
_AROUND: Final = "decorate the handlers, or mount an ASGI application that has it"
_FAULTS: Final = "raise Fault(Code.NOT_FOUND, public=...) where it happens"
_SERVED: Final = "`switchgear up FOLDER` serves it"
_MEMBERS: Final = {
    "add_api_route": _ROUTES,
    "add_event_handler": _HOOKS,
    "add_exception_handler": _FAULTS,
    "add_middleware": _AROUND,
    "api_route": _ROUTES,
    "errorhandler": _FAULTS,
    "exception_handler": _FAULTS,
    "head": "HEAD is answered from GET",
    "include_router": MODULES,
    "lifespan": _HOOKS,
    "listen": _SERVED,
    "middleware": _AROUND,
    "on_event": _HOOKS,
    "options": "gateways answer OPTIONS (gateway.origins)",
    "register_blueprint": MODULES,
    "route": _ROUTES,
    "run": _SERVED,
    "use": _AROUND,
    "websocket": "mount an ASGI application that has it",
}
_DESCRIBED: Final = "the description is made of names, annotations and docstrings"
_OPTIONS: Final = {
    "dependencies": "call it in the function",
    "deprecated": _DESCRIBED,
    "description": _DESCRIBED,
    "include_in_schema": _DESCRIBED,
    "methods": _ROUTES,
    "operation_id": _DESCRIBED,
    "response_class": "return switchgear's own Response",
    "response_model": "annotate what the function returns",
    "responses": _DESCRIBED,
    "status_code": "write status=",
    "summary": _DESCRIBED,
    "tags": _DESCRIBED,
    "timeout": "write deadline=",
}


def no_member(name: str) -> str:
    """Say that an App has no such attribute, and what stands for it."""
    right = _MEMBERS.get(name, "")
    return f"an App has no {name!r}{right and f': {right}'}"


def no_option(name: str, options: Collection[str]) -> str:
    """Say that there is no such option of a route, and what would be right."""
    near = get_close_matches(name, options, 1)
    right = _OPTIONS.get(name) or (
        f"did you mean {near[0]}=?" if near else f"there are {', '.join(options)}"
    )
    return f"there is no option {name!r}: {right}"
