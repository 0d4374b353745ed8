"""The users' REST app in FastAPI."""

from itertools import count
from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

Name = Annotated[str, Field(min_length=1, max_length=100)]
Mail = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Age = Annotated[int, Field(ge=0, le=150)]


class NewUser(BaseModel):
    name: Name
    email: Mail
    age: Age


class User(BaseModel):
    id: int
    name: str
    email: str
    age: int


app = FastAPI()
ids = count(1001)


@app.get("/users/{id}")
async def find(id: int) -> User:
    return User(id=id, name="Ada Lovelace", email="ada@example.com", age=36)


@app.post("/users", status_code=201)
async def create(new: NewUser) -> User:
    return User(id=next(ids), name=new.name, email=new.email, age=new.age)
