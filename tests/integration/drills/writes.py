"""The drills' requests: writes with an id each, and the check that the answer is for that id."""

from switchgear.drills.reply import Reply
from switchgear.drills.wire import Request


class Writes:
    """Every `reads`th request is a read that needs no write; the others write `prefix` + number."""

    def __init__(self, prefix: str = "w", reads: int = 0) -> None:
        self.prefix = prefix
        self.reads = reads

    def request(self, sequence: int) -> Request:
        if self.reads and sequence % self.reads == 0:
            return Request("GET", "/about")
        name = f"{self.prefix}{sequence}"
        return Request("POST", f"/write/{name}", id=name)

    def wrong(self, request: Request, reply: Reply) -> str:
        due = request.path.encode()
        return "" if reply.body == due else f"{reply.body[:40]!r} instead of {due!r}"
