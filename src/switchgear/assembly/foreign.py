"""Applications of others: whether something has the shape of an ASGI one, asked of its signature.

One that has not would be served, and answer each request with a 500: WSGI's, a class where an
instance was meant, a function that makes the application.
"""

import inspect
from typing import Any, Final

__all__ = ["misshapen"]

_CALLED: Final = "an ASGI application is called with (scope, receive, send)"
_WSGI: Final = 2  # environ and start_response


def misshapen(application: Any) -> str:
    """Return why something can be no ASGI application; nothing where it may be one."""
    if not callable(application):
        return f"an ASGI application is called, and a {type(application).__name__} cannot be"
    try:
        signature = inspect.signature(application)
    except (TypeError, ValueError):  # made in C, it has none that Python can read
        return ""
    try:
        signature.bind(None, None, None)
    except TypeError:
        return f"{_CALLED}, and {_told(application, signature)}"
    return ""


def _told(application: Any, signature: inspect.Signature) -> str:
    name = getattr(application, "__qualname__", type(application).__qualname__)
    parameters = ", ".join(signature.parameters)
    if inspect.isclass(application):
        return f"the class {name} is made with ({parameters}): give an instance of it"
    told = f"{name} takes ({parameters})"
    if not signature.parameters:
        return f"{told}: if it makes the application, give what it returns"
    if len(signature.parameters) == _WSGI:
        return f"{told}: if that is WSGI, wrap it, as in asgiref.wsgi.WsgiToAsgi({name.lower()})"
    return told
