"""What other frameworks say of a parameter or a field: nothing here reads it, so it is refused.

`Annotated[int, Field(ge=1)]` reads like a bound, and would be none where msgspec judges the value;
`= Depends(session)` would itself be the value that the function gets.
"""

from typing import Any, Final

__all__ = ["named", "theirs", "unread"]

_THEIRS: Final = frozenset({"annotated_types", "fastapi", "litestar", "pydantic"})
_DESCRIBING: Final = frozenset({"DocInfo"})  # admits all that it would admit without
_CALLED: Final = {"FieldInfo": "Field"}  # what makes it, and stands in the code
_RIGHT: Final = {
    "Body": "switchgear.binding has a Body() of its own",
    "Cookie": 'switchgear.binding has a Cookie("name") of its own',
    "Depends": "call it in the function; a Transaction and a Principal are given by their types",
    "File": "take the Request, and read its body",
    "Form": "take the Request, and read its body",
    "Header": 'switchgear.binding has a Header("x-name") of its own',
    "Query": 'switchgear.binding has a Query("name") of its own, and msgspec bounds, as in'
    " Annotated[int, Meta(ge=1)]",
}
_FRAMEWORKS: Final = frozenset({"aiohttp", "django", "fastapi", "flask", "litestar", "starlette"})
_INSTEAD: Final = {
    "BackgroundTasks": "publish a message, and let a consumer do it",
    "Request": "switchgear has a Request of its own",
    "UploadFile": "take the Request, and read its body",
    "WebSocket": "mount an ASGI application for it",
}
_RESPONSE: Final = "Response"  # and JSONResponse, and others
_BOUNDS: Final = "msgspec has bounds of its own, as in Annotated[int, Meta(ge=1)]"


def named(kind: type) -> str:
    """Name a class that nobody here knows; of another framework's, say what stands for it here."""
    name = getattr(kind, "__qualname__", str(kind))
    if hasattr(kind, "__pydantic_validator__"):
        return f"{name}, a pydantic model, within what is none: make models of both, or of neither"
    root = kind.__module__.partition(".")[0]
    if root not in _FRAMEWORKS:
        return name
    right = _INSTEAD.get(name, "")
    if name.endswith(_RESPONSE):
        right = "return the value itself, or switchgear's own Response"
    return f"{name}, which is {root}'s{right and f': {right}'}"


def theirs(mark: Any) -> str:
    """Return the framework that would read a mark, or a default; nothing where none would."""
    kind = mark if isinstance(mark, type) else type(mark)
    root = kind.__module__.partition(".")[0]
    return root if root in _THEIRS and kind.__name__ not in _DESCRIBING else ""


def unread(mark: Any, where: str = "") -> str:
    """Say that nothing here reads a mark, and what would be right."""
    kind = mark if isinstance(mark, type) else type(mark)
    name = _CALLED.get(kind.__name__, kind.__name__)
    stands = f" of {where}" if where else ""
    right = _RIGHT.get(name, _BOUNDS)
    return f"nothing here reads the `{name}`{stands}, which is {theirs(mark)}'s: {right}"
