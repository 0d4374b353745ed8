"""A JSON endpoint in FastAPI."""

import json

from fastapi import FastAPI
from pydantic import BaseModel

from bench._apps.person import PERSON


class Address(BaseModel):
    street: str
    city: str
    zip: str


class Person(BaseModel):
    id: int
    name: str
    email: str
    tags: list[str]
    address: Address


app = FastAPI()
ada = Person(**json.loads(PERSON))


@app.get("/person")
async def read() -> Person:
    return ada


@app.post("/person")
async def write(person: Person) -> Person:
    return person
