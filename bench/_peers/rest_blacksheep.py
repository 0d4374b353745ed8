"""The users' REST app in BlackSheep, with pydantic's models as its documentation has them."""

from itertools import count
from typing import Annotated

from blacksheep import Application, FromJSON, Response, created, json
from pydantic import BaseModel, Field


class NewUser(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
    age: Annotated[int, Field(ge=0, le=150)]


class User(BaseModel):
    id: int
    name: str
    email: str
    age: int


app = Application()
ids = count(1001)


@app.router.get("/users/{id}")
async def find(id: int) -> Response:
    return json(User(id=id, name="Ada Lovelace", email="ada@example.com", age=36))


@app.router.post("/users")
async def create(data: FromJSON[NewUser]) -> Response:
    new = data.value
    return created(User(id=next(ids), name=new.name, email=new.email, age=new.age))
