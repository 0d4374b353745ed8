"""How the tests of wrong inputs ask, and what every refusal must be."""

from typing import Any

from tests.e2e.running import Answer, Running

__all__ = ["NEW", "post", "refused"]

NEW = {"name": "Grace", "email": "grace@example.org"}


def post(system: Running, token: str, body: object, **headers: str) -> Answer:
    given = {"authorization": f"Bearer {token}"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return system.ask("POST", "/users", body, given)


def refused(answer: Answer, status: int, code: str, *words: str) -> dict[str, Any]:
    """Hold an answer to be a problem document of ours, with these words in it."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert (problem["status"], problem["code"]) == (status, code)
    for word in words:
        assert word in answer.body.decode(), answer.body
    for inner in ("Traceback", "switchgear.", "msgspec", "asyncpg", "/app.py"):
        assert inner not in answer.body.decode(), "a stranger learns nothing of the inside"
    return problem
