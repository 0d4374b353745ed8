"""The users' REST app in Litestar, which validates by msgspec."""

from itertools import count

from litestar import Litestar, get, post

from bench._peers.rest_structs import NewUser, User

ids = count(1001)


@get("/users/{id:int}")
async def find(id: int) -> User:
    return User(id, "Ada Lovelace", "ada@example.com", 36)


@post("/users")
async def create(data: NewUser) -> User:
    return User(next(ids), data.name, data.email, data.age)


app = Litestar([find, create])
