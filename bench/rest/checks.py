"""What every contender must answer before it is measured: nobody wins by not validating."""

import http.client
import json
from collections.abc import Mapping
from typing import Any, Final

from bench._harness.servers import Contender, Running

__all__ = ["GOOD", "WRONG", "Statuses", "asked"]

GOOD: Final = {"name": "Grace Hopper", "email": "grace@example.org", "age": 85}
WRONG: Final[Mapping[str, bytes]] = {
    "no JSON": b'{"name": "Grace',
    "no name": json.dumps({**GOOD, "name": ""}).encode(),
    "a long name": json.dumps({**GOOD, "name": "x" * 101}).encode(),
    "no email": json.dumps({**GOOD, "email": "grace"}).encode(),
    "an age below": json.dumps({**GOOD, "age": -1}).encode(),
    "an age above": json.dumps({**GOOD, "age": 151}).encode(),
    "half a year": json.dumps({**GOOD, "age": 1.5}).encode(),
    "age missing": json.dumps({"name": "Grace", "email": "grace@example.org"}).encode(),
}


class Statuses:
    """Checks contenders, and keeps with which statuses each refuses what is wrong."""

    def __init__(self) -> None:
        self.told: dict[str, set[int]] = {}

    def check(self, one: Contender, place: Running) -> None:
        """See that it answers what is right and refuses what is wrong. Raises RuntimeError."""
        headers = one.headers
        status, body = asked(place.port, "GET", "/users/7", b"", headers)
        if status != 200 or _fields(body).get("id") != 7:
            raise RuntimeError(f"GET /users/7 was answered {status}: {body[:200]!r}")
        for name in ("x", "x" * 100):
            fresh = {**GOOD, "name": name}
            status, body = asked(place.port, "POST", "/users", json.dumps(fresh).encode(), headers)
            if status != 201 or {**_fields(body), "id": 0} != {**fresh, "id": 0}:
                raise RuntimeError(f"POST /users was answered {status}: {body[:200]!r}")
        told = {
            what: asked(place.port, "POST", "/users", wrong, headers)[0]
            for what, wrong in WRONG.items()
        }
        taken = [f"{what} ({status})" for what, status in told.items() if not 400 <= status < 500]
        if taken:
            raise RuntimeError(f"it does not refuse {', '.join(taken)}")
        self.told[one.name] = set(told.values())

    def print(self) -> None:
        """Say who refuses with what."""
        print(f"\nrefused by each: {', '.join(WRONG)}")
        for name, statuses in self.told.items():
            print(f"  {name}: {', '.join(map(str, sorted(statuses)))}")


def _fields(body: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(body))
    except (TypeError, ValueError):
        return {}


def asked(
    port: int, method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, Any]:
    """Ask once."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        kind = {"content-type": "application/json"} if body else {}
        connection.request(method, path, body or None, {**kind, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
