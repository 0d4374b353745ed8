"""The users' REST app, as a user writes it."""

from itertools import count
from typing import Annotated

from msgspec import Meta, Struct

from switchgear import App, Email

app = App("users")
ids = count(1001)


class NewUser(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    email: Email
    age: Annotated[int, Meta(ge=0, le=150)]


class User(Struct):
    id: int
    name: str
    email: str
    age: int


@app.get("/users/{id}", public=True)
async def find(id: int) -> User:
    return User(id, "Ada Lovelace", "ada@example.com", 36)


@app.post("/users", public=True)
async def create(new: NewUser) -> User:
    return User(next(ids), new.name, new.email, new.age)
