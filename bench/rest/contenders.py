"""Who is measured: the same app for each, ours first."""

import sys
from collections.abc import Sequence
from typing import Final

from bench._harness.servers import Contender, Missing
from bench._harness.source import PATH
from bench._peers import in_node, in_python

__all__ = ["contenders", "floor", "ours"]

_UVICORN: Final = (
    "--log-level=critical", "--no-access-log", "--loop=uvloop", "--http=httptools",
)  # fmt: skip
_GRANIAN: Final = (
    "--host=127.0.0.1", "--port={port}", "--workers=1", "--no-log", "--loop=uvloop",
)  # fmt: skip


def contenders() -> Sequence[Contender | Missing]:
    """Return everybody."""
    return (
        ours("ours, a service", "rest_service"),
        ours("ours, http alone", "rest_raw"),
        ours("ours, FastAPI hosted", "rest_hosted"),
        _fastify("Fastify, zod's provider", "provider"),
        _fastify("Fastify, zod by hand", "hand"),
        _fastify("Fastify, ajv", "ajv"),
        _uvicorn("FastAPI, uvicorn", "rest_fastapi"),
        _granian("FastAPI, Granian", "asgi", "rest_fastapi"),
        _uvicorn("Litestar, uvicorn", "rest_litestar"),
        _uvicorn("BlackSheep, uvicorn", "rest_blacksheep"),
        _granian("Granian RSGI alone", "rsgi", "rest_rsgi"),
        in_node("Node http alone", "rest_node.cjs"),
    )


def floor() -> Contender:
    """Return what answers and does nothing else: no server on this loop costs less."""
    return ours("uvloop alone, a constant answer", "rest_floor")


def ours(name: str, module: str, *extra: str) -> Contender:
    """Return an app of ours."""
    command = [sys.executable, "-m", f"bench._apps.{module}", "{port}", *extra]
    return Contender(name, command, {"PYTHONPATH": PATH})


def _fastify(name: str, validation: str) -> Contender | Missing:
    return in_node(name, "rest_fastify.cjs", {"VALIDATION": validation})


def _uvicorn(name: str, module: str) -> Contender | Missing:
    app = f"bench._peers.{module}:app"
    return in_python(name, ["uvicorn", app, "--port={port}", *_UVICORN])


def _granian(name: str, interface: str, module: str) -> Contender | Missing:
    app = f"bench._peers.{module}:app"
    return in_python(name, ["granian", app, f"--interface={interface}", *_GRANIAN])
