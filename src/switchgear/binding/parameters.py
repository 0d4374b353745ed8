"""Parameters: what a function asks for, read from its annotations when the app is loaded."""

import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from switchgear.binding.foreign import theirs, unread
from switchgear.binding.given import Body, Cookie, Header, Offer, Provider, Query
from switchgear.binding.hints import HELD
from switchgear.binding.models import holds_model
from switchgear.binding.scalars import is_many, is_scalar
from switchgear.binding.shape import Array, Choice, Leaf, Node, bare, shape_of
from switchgear.policy.call import Call, Principal

__all__ = ["ABSENT", "Parameter", "Place", "Unbindable", "parameters_of", "whereabouts"]

ABSENT: Final = inspect.Parameter.empty


class Place(StrEnum):
    """Where a parameter's value comes from; the first four are OpenAPI's names."""

    PATH = "path"
    QUERY = "query"
    HEADER = "header"
    COOKIE = "cookie"
    BODY = "body"
    INJECTED = "injected"


class Parameter(msgspec.Struct, frozen=True):
    """One bound parameter: `name` in Python, `wire` in the request."""

    name: str
    place: Place
    wire: str
    annotation: Any
    default: Any = ABSENT
    many: bool = False
    lenient: bool = False
    provider: Provider | None = None

    @property
    def required(self) -> bool:
        """Whether the request must bring it."""
        return self.default is ABSENT


class Unbindable(TypeError):  # noqa: N818 - what it says of the function, as Fault does
    """A function asks for something that no request can give. Raised when the app is loaded."""


def whereabouts(function: Callable[..., Any]) -> str:
    """Return the function's name with its file and line."""
    plain = inspect.unwrap(function)
    plain = getattr(plain, "func", plain)  # a functools.partial
    name = getattr(plain, "__qualname__", type(plain).__qualname__)
    code = getattr(plain, "__code__", None) or getattr(type(plain).__call__, "__code__", None)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name


def parameters_of(
    function: Callable[..., Any],
    names: frozenset[str],
    injectors: Mapping[Any, Provider],
    offer: Offer,
) -> tuple[tuple[Parameter, ...], Any]:
    """Classify every parameter of `function`, and return its result annotation beside them.

    `names` are those of the route's path. Raises Unbindable with the function, file and line, the
    parameter, its annotation, and what could be bound instead.
    """
    where = whereabouts(function)
    hints = _hints(function, where)
    reader = _Reader(where, names, injectors, offer)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise Unbindable(f"{where}: it has no signature that Python can read") from error
    found = [
        reader.read(parameter, hints.get(parameter.name, ABSENT))
        for parameter in signature.parameters.values()
    ]
    taken = {parameter.wire for parameter in found if parameter.place is Place.PATH}
    if lost := sorted(names - taken):
        raise Unbindable(f"{where}: the route names {{{lost[0]}}}, but no parameter takes it")
    bodies = [parameter.name for parameter in found if parameter.place is Place.BODY]
    if len(bodies) > 1:
        raise Unbindable(f"{where}: {' and '.join(bodies)} would both be the body; keep one")
    return tuple(found), hints.get("return", ABSENT)


def _hints(function: Callable[..., Any], where: str) -> dict[str, Any]:
    plain: Any = getattr(function, "func", function)
    if not inspect.isroutine(plain):
        plain = type(plain).__call__
    try:
        return get_type_hints(plain, include_extras=True)
    except Exception as error:  # texts are evaluated, and may raise anything
        raise Unbindable(f"{where}: its annotations cannot be read: {error}. {HELD}") from error


class _Reader:
    """Reads one function's parameters; `where` opens every refusal."""

    def __init__(
        self,
        where: str,
        names: frozenset[str],
        injectors: Mapping[Any, Provider],
        offer: Offer,
    ) -> None:
        self.where = where
        self.names = names
        self.injectors = injectors
        self.offer = offer

    def read(self, parameter: inspect.Parameter, annotation: Any) -> Parameter:
        """Bind one parameter."""
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            kind = parameter.kind.description
            raise self._refused(parameter.name, annotation, f"a {kind} parameter has no name")
        if annotation is ABSENT:
            raise self._refused(parameter.name, annotation, "it has no annotation")
        for key in _keys(annotation):
            if key in _OF_CALLS and key not in self.injectors:  # a Struct, it would be a body
                raise self._refused(parameter.name, annotation, f"no {_spelt(key)} comes here")
            if _hashable(key) and key in self.injectors:
                return Parameter(
                    name=parameter.name,
                    place=Place.INJECTED,
                    wire=parameter.name,
                    annotation=annotation,
                    default=parameter.default,
                    provider=self.injectors[key],
                )
        try:
            return self._from_request(parameter, annotation)
        except Unbindable:
            raise
        except TypeError as error:
            raise self._refused(parameter.name, annotation, _sentence(error)) from error

    def _from_request(self, parameter: inspect.Parameter, annotation: Any) -> Parameter:
        name, default = parameter.name, parameter.default
        if isinstance(default, _MARKS):  # as FastAPI has it: the mark would be the value
            kind = type(default).__name__
            right = f"Annotated[{_spelt(annotation)}, {kind}(...)]"
            why = f"`{kind}` stands in the default: write {right}"
            raise self._refused(name, annotation, why)
        if default is ...:  # as pydantic has it: it would be the value
            why = "`...` stands in the default: leave the default out where it is required"
            raise self._refused(name, annotation, why)
        if theirs(default):
            raise self._refused(name, annotation, unread(default))
        for extra in bare(annotation)[1]:
            if any(extra is one for one in _MARKS):  # it would mark nothing, and be the query's
                missed = "parentheses" if extra is Body else "name"
                why = f"stands there without its {missed}: write {extra.__name__}(...)"
                raise self._refused(name, annotation, f"`{extra.__name__}` {why}")
            if theirs(extra) and not (holds_model(annotation) and theirs(extra) in _OF_MODELS):
                raise self._refused(name, annotation, unread(extra))
        mark = next((extra for extra in bare(annotation)[1] if isinstance(extra, _MARKS)), None)
        if name in self.names:
            return Parameter(name, Place.PATH, name, self._scalar(name, annotation), default)
        if isinstance(mark, (Header, Cookie)):
            if not self.offer.headers:
                raise self._refused(name, annotation, "there are no headers here")
            place = Place.HEADER if isinstance(mark, Header) else Place.COOKIE
            wire = mark.name.lower() if place is Place.HEADER else mark.name
            return Parameter(name, place, wire, self._scalar(name, annotation), default)
        if isinstance(mark, Body):
            return self._body(name, annotation, default, lenient=mark.lenient)
        if self.offer.query and not holds_model(annotation):
            wire = mark.name if isinstance(mark, Query) else name
            if is_scalar(annotation):
                return Parameter(name, Place.QUERY, wire, annotation, default)
            if is_many(annotation):
                return Parameter(name, Place.QUERY, wire, annotation, default, many=True)
            if isinstance(mark, Query):
                raise self._refused(name, annotation, "a query parameter is a scalar, or a list")
            if not _is_document(shape_of(annotation)):
                raise self._refused(name, annotation, "it is neither a scalar nor a document")
        return self._body(name, annotation, default, lenient=False)

    def _scalar(self, name: str, annotation: Any) -> Any:
        if not is_scalar(annotation):
            raise self._refused(name, annotation, "one text cannot hold it")
        return annotation

    def _body(self, name: str, annotation: Any, default: Any, *, lenient: bool) -> Parameter:
        if not self.offer.body:
            raise self._refused(name, annotation, "there is no body here")
        if not holds_model(annotation):
            shape_of(annotation)
        lenient = lenient or self.offer.lenient
        return Parameter(name, Place.BODY, name, annotation, default, lenient=lenient)

    def _refused(self, name: str, annotation: Any, why: str) -> Unbindable:
        choices = []
        if self.names:
            choices.append(f"a name of the path ({', '.join(sorted(self.names))})")
        if self.offer.query:
            choices.append("a query parameter (str, int, float, bool, Enum, UUID, date, list[...])")
        if self.offer.body:
            choices.append(
                "the body (a Struct, dataclass, attrs class, pydantic model, or a list of them)"
            )
        if self.offer.headers:
            choices.append('Annotated[str, Header("x-name")] or Cookie("name")')
        if self.injectors:
            given = ", ".join(sorted(_spelt(key) for key in self.injectors))
            choices.append(f"what is injected by type ({given})")
        asked = "" if annotation is ABSENT else f": {_spelt(annotation)}"
        return Unbindable(
            f"{self.where}: parameter `{name}{asked}` cannot be bound: {why}."
            f" A parameter can be {'; '.join(choices)}"
        )


_OF_CALLS: Final = (Principal, Call)
_MARKS: Final = (Header, Cookie, Query, Body)
_OF_MODELS: Final = ("pydantic", "annotated_types")  # whose marks pydantic reads with its models


def _keys(annotation: Any) -> Iterator[Any]:
    """Yield what a provider may be registered under, the most exact first."""
    yield annotation
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _keys(get_args(annotation)[0])
    elif type(annotation).__name__ == "TypeAliasType":
        yield from _keys(annotation.__value__)
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            if member is not types.NoneType:
                yield from _keys(member)
    elif origin is not None:
        yield origin


def _hashable(key: Any) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


def _is_document(node: Node) -> bool:
    """Say whether a type is a body by itself; free-form ones ask for the mark `Body()`."""
    if isinstance(node, Choice):
        return bool(node.objects) or (node.array is not None and _is_document(node.array))
    if isinstance(node, Array):
        return _is_document(node.item)
    if isinstance(node, Leaf):
        return bare(node.annotation)[0] in (dict, list)
    return True


def _spelt(annotation: Any) -> str:
    """Write a type as its user did: by its bare name."""
    if annotation is types.NoneType:
        return "None"
    if isinstance(annotation, types.UnionType):
        return " | ".join(map(_spelt, get_args(annotation)))
    stripped = getattr(annotation, "__qualname__", None)
    return stripped if stripped and not get_args(annotation) else str(annotation)


def _sentence(error: TypeError) -> str:
    return str(error).split("\n", maxsplit=1)[0].rstrip(".") or "msgspec cannot read such a type"
