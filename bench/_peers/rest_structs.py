"""The users of the REST apps as msgspec structs, for the frameworks that take them."""

from typing import Annotated

from msgspec import Meta, Struct


class NewUser(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    email: Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
    age: Annotated[int, Meta(ge=0, le=150)]


class User(Struct):
    id: int
    name: str
    email: str
    age: int
