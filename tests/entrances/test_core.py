"""The core carries every entrance, and knows the name of none."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import switchgear.core

CORE = Path(switchgear.core.__file__).parent
FILES = sorted(CORE.glob("**/*.py"))

# What entrances are, and what they are made of.
NAMES = {
    "amqp", "asgi", "broker", "client", "connection", "consumer", "consumers", "cron", "database",
    "fastapi", "frame", "gateway", "header", "headers", "http", "https", "job", "jobs", "kafka",
    "message", "messages", "offset", "partition", "peer", "pipeline", "pipelines", "postgres",
    "queue", "rabbit", "rabbitmq", "realtime", "record", "records", "redis", "request", "requests",
    "response", "responses", "room", "rooms", "scheduler", "server", "service", "services",
    "session", "socket", "sockets", "sql", "sse", "status", "tcp", "topic", "udp", "upgrade", "url",
    "websocket", "websockets", "wsgi",
}  # fmt: skip

# Words that mean something else where they stand.
OTHERWISE = {
    ("consume.py", "room"): "space for one more",
    ("permits.py", "room"): "space for one more",
    ("frames.py", "frame"): "a frame of the stack",
    ("attempt.py", "frame"): "a frame of the stack",
    ("express.py", "frame"): "a frame of the stack",
    ("invocation.py", "frame"): "a frame of a traceback",
    ("stack.py", "frame"): "a frame of the stack",
    ("permits.py", "queue"): "the line before a gate",
    ("stack.py", "service"): "the place of the service breaker",
    ("stack.py", "queue"): "the reason of a place: the line before a gate",
    ("stack.py", "response"): "the reason of a place: what a transaction precedes",
    ("stack.py", "record"): "the reason of a place: what an idempotency key has left",
    ("consume.py", "message"): "the key of asyncio's exception handler",
    ("drivers.py", "message"): "the key of asyncio's exception handler",
    ("observe.py", "message"): "the key of asyncio's exception handler",
    ("sweep.py", "message"): "the key of asyncio's exception handler",
}


def docstrings(tree: ast.AST) -> set[int]:
    """The constants that are documentation: a string that stands for itself."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def spoken(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name and every string that is no documentation, with its line."""
    silent = docstrings(tree)
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=str(text)) if id(node) not in silent:
                yield line, text
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield line, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield line, name
            case ast.ClassDef(name=name) | ast.alias(name=name):
                yield line, name
            case ast.ImportFrom(module=str(name)) | ast.keyword(arg=str(name)):
                yield line, name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield line, name


def words(name: str) -> set[str]:
    """The words of a name, however it is written."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return set(re.findall(r"[a-z]+", apart.lower()))


def found(file: str, source: str) -> list[str]:
    return [
        f"{file}:{line}: {name!r} names an entrance ({word})"
        for line, name in spoken(ast.parse(source))
        for word in sorted(words(name) & NAMES)
        if (file, word) not in OTHERWISE
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_core_has_no_branch_that_names_an_entrance(path: Path) -> None:
    assert found(path.name, path.read_text()) == []


def test_every_exemption_is_needed() -> None:
    used = {
        (path.name, word)
        for path in FILES
        for _, name in spoken(ast.parse(path.read_text()))
        for word in words(name) & NAMES
    }
    assert set(OTHERWISE) <= used


@pytest.mark.parametrize(
    "source",
    [
        "if isinstance(delivery, HttpExchange): pass",
        "if delivery.is_websocket: pass",
        "x = 1 if kind == 'kafka' else 2",
        "match delivery:\n    case JobDelivery(): pass",
        "from switchgear.http.message import Response",
        "while broker.open: pass",
        "def settle(self, *, queue_name): ...",
    ],
)
def test_the_look_finds_what_it_looks_for(source: str) -> None:
    assert found("drivers.py", source)


def test_the_look_spares_documentation() -> None:
    assert found("drivers.py", 'def run():\n    """For a broker."""\n    # and a socket\n') == []


def test_there_is_a_core_to_look_at() -> None:
    assert {"delivery.py", "drivers.py", "consume.py", "frames.py"} <= {one.name for one in FILES}
