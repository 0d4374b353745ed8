"""Pydantic models, for whoever brings them: pydantic is imported only when one is bound."""

import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from inspect import signature
from typing import Any, Final, get_args

from msgspec import DecodeError

from switchgear.binding.boundless import boundless_in, may_be_boundless
from switchgear.binding.crowds import dispersed
from switchgear.binding.explain import refusal
from switchgear.binding.foreign import named
from switchgear.binding.hints import unreadable
from switchgear.binding.shape import bare, shape_of
from switchgear.binding.strict import Scrutiny
from switchgear.binding.wrong import LIMIT, Wrong, invalid, malformed, pointer

__all__ = [
    "holds_model",
    "is_model",
    "model_data",
    "model_decoder",
    "model_encoder",
    "model_reader",
    "model_schema",
]

# Pydantic lists all errors or none: at 3 us each, with a copy of every name that leads there.
_LISTED: Final = 1000
_COPIED: Final = 16 << 20  # bytes
_DEEP: Final = 255  # names above one another, at most


def is_model(annotation: Any) -> bool:
    """Say whether `annotation` is a class of pydantic's (a model or its kind of dataclass)."""
    return (
        "pydantic" in sys.modules
        and isinstance(annotation, type)
        and hasattr(annotation, "__pydantic_validator__")
    )


def holds_model(annotation: Any) -> bool:
    """Say whether `annotation` is, or contains as an argument, a class of pydantic's."""
    stripped, _ = bare(annotation)
    return is_model(stripped) or any(holds_model(argument) for argument in get_args(stripped))


def model_decoder(annotation: Any, subject: str, *, lenient: bool) -> Callable[[bytes], Any]:
    """Compile a decoder by pydantic, with our rules where pydantic is laxer.

    The model's own configuration decides on coercion (pydantic's default reads "1" as an
    integer). Unknown names are refused where the installed pydantic can be told so per call
    (2.12), else as the model says.

    Raises TypeError for what pydantic cannot read.
    """
    from pydantic import ValidationError

    adapter = _adapter(annotation)
    validate = adapter.validate_json
    strict = not lenient and "extra" in signature(validate).parameters
    options: dict[str, Any] = {"extra": "forbid"} if strict else {}
    anything = shape_of(Any)
    wrong = Scrutiny(anything).wrong
    kinds = _kinds(adapter.core_schema)
    # Texts are read as numbers, "nan" among them, and as JSON in which pydantic takes NaN.
    numbers = not lenient and not kinds.isdisjoint(("decimal", "float", "json"))
    decimals = "decimal" in kinds and not kinds.isdisjoint(("set", "frozenset", "dict"))

    def decode(body: bytes) -> Any:
        # Of what a set is, pydantic does not say.
        dispersed(body, subject, decimals=decimals)
        # The free-form look comes first: pydantic reads NaN, lone surrogates and repeated names.
        try:
            found = wrong(body, None)
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise refusal(anything, body, subject, error, lenient=lenient) from None
        if found is not None and not (lenient and found.pedantic):
            raise refusal(anything, body, subject, found, lenient=lenient)
        try:
            value = validate(body, **options)
        except ValidationError as error:
            count = error.error_count()
            if count > _LISTED or count * _name_bytes(body) > _COPIED:
                told = {"pointer": "", "detail": f"holds {count} wrong values"}
                raise invalid([told], subject) from None
            details = error.errors(include_url=False, include_context=False, include_input=False)
            raise _fault(details, subject) from None
        if numbers and may_be_boundless(body) and (right := boundless_in(value)):
            raise invalid([Wrong("", right).member()], subject)
        return value

    return decode


def _kinds(root: Any) -> set[str]:
    """Return what kinds of values a schema of pydantic's core speaks of."""
    kinds: set[str] = set()
    later = [root]
    while later:
        one = later.pop()
        if isinstance(one, dict):
            if isinstance(kind := one.get("type"), str):
                kinds.add(kind)
            later += one.values()
        elif isinstance(one, (list, tuple)):
            later += one
    return kinds


def model_reader(annotation: Any) -> Callable[[Any], Any]:
    """Compile what makes a model of plain values, such as a row's, by its fields' names in Python.

    Raises TypeError for what pydantic cannot read.
    """
    validate = _adapter(annotation).validate_python
    told = "by_name" in signature(validate).parameters  # before pydantic 2.11 the model says it
    options = {"by_alias": True, "by_name": True} if told else {}
    return partial(validate, **options)


def _name_bytes(body: bytes) -> int:
    """Return more bytes than the names have together that lead to any place of a body."""
    return min(len(body), _DEEP * max(map(len, body.split(b'"'))))


def _adapter(annotation: Any) -> Any:
    from pydantic import PydanticUserError, TypeAdapter

    try:
        adapter = TypeAdapter(annotation)
        if not getattr(adapter, "pydantic_complete", True):  # else it would fail at each value
            adapter.rebuild()
    except PydanticUserError as error:  # a structure of others' beside a model, say
        raise TypeError(error.message.partition("\n")[0]) from error
    except NameError as error:  # PydanticUndefinedAnnotation
        raise TypeError(unreadable(annotation, error)) from error
    return adapter


def _fault(details: list[Any], subject: str) -> Exception:
    if details and details[0]["type"] == "json_invalid":
        return malformed(details[0]["msg"].removeprefix("Invalid JSON: "))
    errors = []
    for detail in details[: LIMIT + 1]:
        place = ""
        for step in detail["loc"]:
            place = pointer(place, str(step))
        message: str = detail["msg"]
        errors.append({"pointer": place, "detail": message[:1].lower() + message[1:]})
    return invalid(errors, subject)


def model_encoder(annotation: Any) -> Callable[[Any], bytes]:
    """Compile an encoder by pydantic, which writes the fields of `annotation` and no others.

    They are called as the schema calls them, by their aliases: as msgspec's are by `rename`.

    Raises TypeError for what pydantic cannot write.
    """
    adapter = _adapter(annotation)

    def encode(value: Any) -> bytes:
        model = adapter.validate_python(value, from_attributes=True)
        written: bytes = adapter.dump_json(model, by_alias=True)
        return written

    return encode


def model_data(value: Any) -> Any:
    """Return what a model holds, for a writer of JSON that has met one in a place of free form.

    Raises TypeError for what is no model: nobody knows its JSON.
    """
    serializer = getattr(type(value), "__pydantic_serializer__", None)
    if serializer is None:
        hint = ", which nobody has awaited" if isinstance(value, Coroutine) else ""
        raise TypeError(f"no JSON is known for {named(type(value))}{hint}")
    return serializer.to_python(value, mode="json", by_alias=True)


def model_schema(annotation: Any, mode: str) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the JSON Schema of `annotation` and its components; `mode` as pydantic names it.

    What pydantic reads or writes by a function, and knows no schema for, may be anything.
    """
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

    class Open(GenerateJsonSchema):
        def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
            return {}

    schema = TypeAdapter(annotation).json_schema(
        mode="serialization" if mode == "serialization" else "validation",
        ref_template="#/components/schemas/{model}",
        schema_generator=Open,
    )
    return schema, schema.pop("$defs", {})
