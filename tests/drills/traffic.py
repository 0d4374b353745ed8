"""What drills ask the community for: users created, users listed, a page without database."""

import json

from switchgear.drills.reply import Reply
from switchgear.drills.wire import Request

__all__ = ["Community", "Degraded"]


class Community:
    """Of every `every` requests the first creates a user, the second lists users, the rest ask
    for `/about`. A creation's id in the ledger is the user's email.
    """

    def __init__(self, token: str, prefix: str, every: int = 3, creates: int = 1) -> None:
        self._headers = (
            ("Authorization", f"Bearer {token}"),
            ("Content-Type", "application/json"),
        )
        self._prefix = prefix
        self._every = every
        self._creates = creates

    def request(self, sequence: int) -> Request:
        turn = sequence % self._every
        if turn < self._creates:
            email = f"{self._prefix}{sequence}@example.org"
            body = json.dumps({"name": f"n{sequence}", "email": email}).encode()
            return Request("POST", "/users", self._headers, body, id=email)
        if turn == self._creates:
            return Request("GET", "/users?limit=5")
        return Request("GET", "/about")

    def wrong(self, request: Request, reply: Reply) -> str:
        if reply.status >= 400:
            return ""
        if request.path == "/about":
            return "" if b'"community"' in reply.body else f"{reply.body[:80]!r} is no /about"
        if request.id and request.id.encode() not in reply.body:
            return f"{reply.body[:120]!r} is another's user"
        return ""


class Degraded(Community):
    """The same, where every failure must be a typed one: `codes` are those it may have."""

    def __init__(self, token: str, prefix: str, codes: dict[str, str]) -> None:
        super().__init__(token, prefix)
        self._codes = codes

    def wrong(self, request: Request, reply: Reply) -> str:
        if reply.status < 400:
            return super().wrong(request, reply)
        if reply.headers.get("content-type") != "application/problem+json":
            return f"{reply.status} is no problem document: {reply.body[:80]!r}"
        code = json.loads(reply.body).get("code")
        return "" if self._codes.get(str(reply.status)) == code else f"{reply.status} {code}"
