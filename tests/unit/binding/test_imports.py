"""What importing the room loads: no pydantic until a model of its is bound."""

import subprocess
import sys


def test_pydantic_is_loaded_only_by_who_brings_it() -> None:
    script = """
import sys
from msgspec import Struct
from switchgear.binding import Operation, Parts, bind, encoder, openapi

class New(Struct):
    name: str

async def create(new: New, limit: int = 3) -> New: ...

plan = bind(create)
plan.arguments(Parts(body=b'{"name":"a"}', query="limit=1"))
encoder(plan.result, plan.name)(New("a"))
openapi([Operation("POST", "/", plan)], title="t", version="1")
print(sorted({"pydantic", "http.client", "http.server", "asyncpg"} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
