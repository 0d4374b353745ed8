"""Plans: a typed function, compiled when the app is loaded into one call per request."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final

from switchgear.binding.decode import body_decoder
from switchgear.binding.given import HTTP, Given, Offer, Provider
from switchgear.binding.parameters import (
    ABSENT,
    Parameter,
    Place,
    Unbindable,
    parameters_of,
    whereabouts,
)
from switchgear.binding.scalars import cookies, many, one, query_values
from switchgear.binding.wrong import invalid
from switchgear.policy.fault import Fault

__all__ = ["Plan", "bind"]

_Values = Mapping[str, list[str]]

_NOTHING: Final[_Values] = {}


class Plan:
    """One bound function: `plan.call(given)` makes its arguments and calls it.

    `injected` are the annotations that providers serve, so that the room above knows what
    to prepare (a transaction, say) before the call. `where` is the function's name, file and line.
    """

    __slots__ = (
        "_in_order",
        "_queried",
        "_takes",
        "asynchronous",
        "body",
        "function",
        "injected",
        "name",
        "parameters",
        "result",
        "where",
    )

    def __init__(
        self, function: Callable[..., Any], parameters: tuple[Parameter, ...], result: Any
    ) -> None:
        self.function = function
        self.parameters = parameters
        self.result = result
        self.where = whereabouts(function)
        self.name = self.where.split(" ", maxsplit=1)[0]
        self.asynchronous = any(
            inspect.iscoroutinefunction(each) for each in (function, type(function).__call__)
        )
        self.body = next((each for each in parameters if each.place is Place.BODY), None)
        self.injected = frozenset(
            each.annotation for each in parameters if each.place is Place.INJECTED
        )
        self._takes = tuple(
            (each.name, _take(each, self.name))
            for each in parameters
            if each.place is not Place.QUERY
        )
        self._queried = tuple(
            (each.name, _query(each, self.name)) for each in parameters if each.place is Place.QUERY
        )

        # By their places where all have one: names have to be found again in every call.
        takes = tuple(take for _, take in self._takes)
        self._in_order = takes if not self._queried and _placed(function, self._takes) else ()

    def arguments(self, given: Given) -> dict[str, Any]:
        """Make the keyword arguments of one call.

        Raises `Fault` (invalid argument): with `errors` listing every wrong place, or without for
        a body that is no JSON. What a provider raises goes through.
        """
        found = {}
        try:
            if self._queried:
                text = given.query
                values = query_values(text) if text else _NOTHING
                for name, read in self._queried:
                    found[name] = read(values)
            for name, take in self._takes:
                found[name] = take(given)
        except Fault as fault:
            if "errors" not in fault.extra or len(self.parameters) == 1:
                raise
        else:
            return found
        raise self._everything(given)

    def call(self, given: Given) -> Any:
        """Call the function on one call's arguments, and return what it returns (a coroutine)."""
        if not self._in_order:
            return self.function(**self.arguments(given))
        try:
            found = [take(given) for take in self._in_order]
        except Fault as fault:
            if "errors" not in fault.extra or len(self.parameters) == 1:
                raise
        else:
            return self.function(*found)
        raise self._everything(given)

    def _everything(self, given: Given) -> Fault:
        """Collect the errors of all parameters: the fast path stopped at the first."""
        errors: list[dict[str, str]] = []
        injected = {each.name for each in self.parameters if each.place is Place.INJECTED}
        steps: list[Callable[[], Any]] = []
        try:
            values = query_values(given.query) if self._queried else _NOTHING
        except Fault as fault:
            return fault
        steps += [partial(read, values) for _, read in self._queried]
        steps += [partial(take, given) for name, take in self._takes if name not in injected]
        for step in steps:
            try:
                step()
            except Fault as fault:
                listed = fault.extra.get("errors")
                if not isinstance(listed, list):
                    return fault  # the body is no JSON: nothing else is worth saying
                errors.extend(listed)
        return invalid(errors, self.name)


def bind(
    function: Callable[..., Any],
    *,
    path: Iterable[str] = (),
    injectors: Mapping[Any, Provider] | None = None,
    offer: Offer = HTTP,
) -> Plan:
    """Compile `function` for a route whose path has the names `path`.

    A parameter is bound, in this order: by its type among `injectors`, by its name in the path, by
    its mark (`Header`, `Cookie`, `Query`, `Body`), as a query parameter (scalars and lists of
    them), as the body. `injectors` maps a type to the function that makes its value from
    the call's `Given`.

    Raises Unbindable.
    """
    parameters, result = parameters_of(function, frozenset(path), injectors or {}, offer)
    try:
        return Plan(function, parameters, result)
    except Unbindable:
        raise
    except TypeError as error:
        raise Unbindable(f"{whereabouts(function)}: {error}") from error


def _placed(function: Callable[..., Any], takes: tuple[tuple[str, Any], ...]) -> bool:
    """Say whether a function itself, and not what it wraps, takes just these by their places."""
    plain = function.__func__ if isinstance(function, MethodType) else function
    if not isinstance(plain, FunctionType):
        return False
    code = plain.__code__
    if code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        return False
    names = code.co_varnames[plain is not function : code.co_argcount]
    return names == tuple(name for name, _ in takes)


def _take(parameter: Parameter, subject: str) -> Callable[[Given], Any]:
    if parameter.place is Place.BODY:
        return _body(parameter, subject)
    if parameter.place is not Place.INJECTED:
        return _single(parameter, subject)
    if parameter.provider is None:
        raise Unbindable(f"parameter `{parameter.name}` of {subject} has no provider")
    return parameter.provider


def _body(parameter: Parameter, subject: str) -> Callable[[Given], Any]:
    decode = body_decoder(parameter.annotation, subject, lenient=parameter.lenient)
    if parameter.required:
        return lambda given: decode(given.body)
    default, changing = parameter.default, _changing(parameter.default)
    return lambda given: (
        decode(given.body) if given.body else deepcopy(default) if changing else default
    )


def _query(parameter: Parameter, subject: str) -> Callable[[_Values], Any]:
    wire, default = parameter.wire, parameter.default
    changing = _changing(default)
    convert_one = None if parameter.many else one(parameter.annotation)
    convert_many = many(parameter.annotation) if parameter.many else None

    def read(values: _Values) -> Any:
        texts = values.get(wire)
        if texts is None:
            if default is ABSENT:
                raise _wrong(parameter, "is required", subject)
            return deepcopy(default) if changing else default
        try:
            if convert_many is not None:
                return convert_many(texts)
            if convert_one is not None and len(texts) == 1:
                return convert_one(texts[0])
        except ValueError as error:
            raise _wrong(parameter, str(error), subject) from None
        raise _wrong(parameter, f"is given {len(texts)} times", subject)

    return read


def _single(parameter: Parameter, subject: str) -> Callable[[Given], Any]:
    """Take from the path, a header or a cookie."""
    find, in_path = _FINDERS[parameter.place], parameter.place is Place.PATH
    convert, wire, default = one(parameter.annotation), parameter.wire, parameter.default

    def take(given: Given) -> Any:
        text = given.path.get(wire) if in_path else find(given, wire)
        if text is None:
            if default is ABSENT:
                raise _wrong(parameter, "is required", subject)
            return default
        try:
            return convert(text)
        except ValueError as error:
            raise _wrong(parameter, str(error), subject) from None

    return take


def _changing(default: Any) -> bool:
    """Say whether a default can be changed: what has no hash can.

    Each call gets one of its own then, or would find what others have put there. What has a hash
    stays the object that it is: a function may ask for its sentinel by `is`.
    """
    try:
        hash(default)
    except TypeError:
        return True
    return False


_FINDERS: Final[Mapping[Place, Callable[[Given, str], str | None]]] = {
    Place.PATH: lambda given, wire: given.path.get(wire),
    Place.HEADER: lambda given, wire: given.header(wire),
    Place.COOKIE: lambda given, wire: cookies(given.header("cookie") or "").get(wire),
}


def _wrong(parameter: Parameter, detail: str, subject: str) -> Fault:
    error = {"parameter": parameter.wire, "in": parameter.place.value, "detail": detail}
    return invalid([error], subject)
