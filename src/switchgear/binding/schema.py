"""OpenAPI 3.1 from the same types that bind the calls.

Source: https://spec.openapis.org/oas/v3.1.1.html, RFC 9457 for the problem documents.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import count
from typing import Any, Final, Literal

import msgspec

from switchgear.binding.models import holds_model, is_model, model_schema
from switchgear.binding.parameters import ABSENT, Parameter, Place
from switchgear.binding.plan import Plan
from switchgear.binding.shape import Choice, bare, shape_of
from switchgear.policy.phrases import phrase

__all__ = ["Operation", "Problem", "openapi"]

_REFERENCE: Final = "#/components/schemas/"
_NAME: Final = re.compile(r"\{([^}:]+)[^}]*\}")
_KEY: Final = "idempotency-key"
_HTTP_PLACES: Final = (Place.PATH, Place.QUERY, Place.HEADER, Place.COOKIE)


class WrongValue(msgspec.Struct, rename={"place": "in"}, omit_defaults=True):
    """One wrong value: by its JSON pointer in the body, or by its parameter's name and place."""

    detail: str
    pointer: str = ""
    parameter: str = ""
    place: str = ""


class Problem(msgspec.Struct, omit_defaults=True):
    """Why a request was not served (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    effect: Literal["none", "unknown", "done"] | None = None
    retry_after: float | None = None
    instance: str = ""
    errors: list[WrongValue] = []


class Operation(msgspec.Struct, frozen=True):
    """One route of an app: what a client may do, and what comes back.

    `scopes` are what a token must grant; `secured` alone asks for any valid token. `problems` are
    statuses of its own beside those that every operation has. An `idempotency` key is optional,
    required or off.
    """

    method: str
    path: str
    plan: Plan
    status: int = 200
    scopes: tuple[str, ...] = ()
    secured: bool = False
    tags: tuple[str, ...] = ()
    problems: tuple[int, ...] = ()
    idempotency: str = "off"


def openapi(
    operations: Iterable[Operation], *, title: str, version: str, description: str = ""
) -> dict[str, Any]:
    """Describe `operations` as one OpenAPI 3.1 document, ready to be written as JSON."""
    held = list(operations)
    book = _Book(held)
    paths: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    for operation in held:
        item = paths.setdefault(_NAME.sub(r"{\1}", operation.path), {})
        described = _operation(operation, book)
        described["operationId"] = _unused(operation.plan.name.rsplit(".", 1)[-1], names)
        item[operation.method.lower()] = described
    info = {"title": title, "version": version}
    if description:
        info["description"] = description
    components: dict[str, Any] = {"schemas": book.components}
    if any(_is_secured(operation) for operation in held):
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        }
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components}


def _is_secured(operation: Operation) -> bool:
    return operation.secured or bool(operation.scopes)


def _operation(operation: Operation, book: "_Book") -> dict[str, Any]:
    plan = operation.plan
    told = inspect.cleandoc(plan.function.__doc__ or "").split("\n\n", 1)
    described: dict[str, Any] = {}
    if told[0]:
        described["summary"] = " ".join(told[0].split())
    if len(told) > 1:
        described["description"] = told[1]
    if operation.tags:
        described["tags"] = list(operation.tags)
    parameters = [
        _parameter(parameter, book)
        for parameter in plan.parameters
        if parameter.place in _HTTP_PLACES
    ]
    parameters += _key(operation)
    if parameters:
        described["parameters"] = parameters
    if plan.body is not None:
        schema = book.schema(plan.body.annotation, "validation")
        described["requestBody"] = {
            "required": plan.body.required,
            "content": {"application/json": {"schema": schema}},
        }
    if _is_secured(operation):
        described["security"] = [{"bearer": list(operation.scopes)}]
    described["responses"] = _responses(operation, book, asks=bool(parameters or plan.body))
    return described


def _parameter(parameter: Parameter, book: "_Book") -> dict[str, Any]:
    schema = dict(book.schema(parameter.annotation, "validation"))
    if parameter.default is not ABSENT and parameter.default is not None:
        with suppress(TypeError):  # of a class of its own, which says that there was none
            schema["default"] = msgspec.to_builtins(parameter.default)
    return {
        "name": parameter.wire,
        "in": parameter.place.value,
        "required": parameter.required or parameter.place is Place.PATH,
        "schema": schema,
    }


def _key(operation: Operation) -> Iterator[dict[str, Any]]:
    """Yield the parameter of an idempotency key, if any, and the handler does not ask for it."""
    asked = any(one.wire == _KEY for one in operation.plan.parameters)
    if operation.idempotency != "off" and not asked:
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "A name of this request: repeated with it, it is answered as before.",
            "required": operation.idempotency == "required",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }


def _responses(operation: Operation, book: "_Book", *, asks: bool) -> dict[str, Any]:
    result = operation.plan.result
    responses: dict[str, Any] = {}
    if result is not None and bare(result)[0] not in (None, type(None)):
        answer: dict[str, Any] = {"description": phrase(operation.status)}
        if book.describes(result):
            schema = {} if result is ABSENT else book.schema(result, "serialization")
            answer["content"] = {"application/json": {"schema": schema}}
        responses[str(operation.status)] = answer
    if not responses or _may_be_nothing(result, book):
        responses["204"] = {"description": phrase(204)}
    problems = set(operation.problems)
    problems |= {400, 422} if asks else set()
    problems |= {401, 403} if _is_secured(operation) else set()
    problems |= {409, 422} if operation.idempotency != "off" else set()
    content = {"application/problem+json": {"schema": book.schema(Problem, "serialization")}}
    for status in sorted(problems):
        responses[str(status)] = {"description": phrase(status), "content": content}
    responses["default"] = {"description": "Any other problem", "content": content}
    return responses


def _may_be_nothing(result: Any, book: "_Book") -> bool:
    if result is ABSENT or holds_model(result) or not book.describes(result):
        return False
    node = shape_of(result)
    return isinstance(node, Choice) and node.nullable


class _Book:
    """The schemas of all types of all operations, and their shared components."""

    def __init__(self, operations: list[Operation]) -> None:
        self.components: dict[str, Any] = {}
        self._schemas: dict[int, Any] = {}  # by identity: annotations may be unhashable
        self._models: dict[tuple[Any, str], Any] = {}
        wanted, lenient = _types(operations)
        own = [kind for kind in wanted if self.describes(kind) and not holds_model(kind)]
        schemas, components = msgspec.json.schema_components(
            own, ref_template=_REFERENCE + "{name}"
        )
        for kind, schema in zip(own, schemas, strict=True):
            self._schemas[id(kind)] = schema
        _, open_ended = msgspec.json.schema_components(lenient)
        for name, component in components.items():
            if "properties" in component and name not in open_ended:
                component.setdefault("additionalProperties", False)
            self.components[name] = component

    def describes(self, annotation: Any) -> bool:
        """Say whether there is a schema for `annotation`: a raw response, say, has none."""
        if annotation is ABSENT or holds_model(annotation):
            return True
        try:
            shape_of(annotation)
        except TypeError:
            return False
        return True

    def schema(self, annotation: Any, mode: str) -> dict[str, Any]:
        """Return the schema of one annotation; `mode` matters to pydantic's models alone."""
        found: dict[str, Any]
        if not holds_model(annotation):
            found = self._schemas[id(annotation)]
            return found
        if (annotation, mode) not in self._models:
            schema, definitions = model_schema(annotation, mode)
            if is_model(annotation) and "$ref" not in schema:
                definitions = {**definitions, annotation.__name__: schema}
                schema = {"$ref": _REFERENCE + annotation.__name__}
            renamed = {name: self._place(name, one) for name, one in definitions.items()}
            for name, one in definitions.items():
                self.components[renamed[name]] = _with_names(one, renamed)
            self._models[annotation, mode] = _with_names(schema, renamed)
        found = self._models[annotation, mode]
        return found

    def _place(self, name: str, definition: Any) -> str:
        """Return the name under which a definition can stand beside the others."""
        free = name
        numbers = count(2)
        while self.components.get(free, definition) != definition:
            free = f"{name}{next(numbers)}"
        return free


def _types(operations: list[Operation]) -> tuple[list[Any], list[Any]]:
    """Collect all annotations that need a schema, and those of lenient bodies."""
    wanted: list[Any] = [Problem]
    lenient: list[Any] = []
    for operation in operations:
        for parameter in operation.plan.parameters:
            if parameter.place is Place.INJECTED:
                continue
            wanted.append(parameter.annotation)
            if parameter.lenient and not holds_model(parameter.annotation):
                lenient.append(parameter.annotation)
        if operation.plan.result is not ABSENT:
            wanted.append(operation.plan.result)
    return wanted, lenient


def _with_names(schema: Any, renamed: Mapping[str, str]) -> Any:
    """Copy a schema with its references led to where the definitions now stand."""
    if isinstance(schema, list):
        return [_with_names(item, renamed) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {name: _with_names(member, renamed) for name, member in schema.items()}
    target = copied.get("$ref")
    if isinstance(target, str) and target.startswith(_REFERENCE):
        name = target.removeprefix(_REFERENCE)
        copied["$ref"] = _REFERENCE + renamed.get(name, name)
    return copied


def _unused(name: str, names: set[str]) -> str:
    free = name
    number = 2
    while free in names:
        free = f"{name}_{number}"
        number += 1
    names.add(free)
    return free
