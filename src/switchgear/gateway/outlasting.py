"""Outlasting: answers that go on when nobody looks at their token again, and end with its session.

A WebSocket, and a stream of events, may go on for days. What was revoked, or whose account was
deleted, would go on to read and write there: so it is ended when the gateway hears of that. That an
access token expires ends nothing, for its client may have another one of the same session.
"""

from switchgear.http.message import Response, StreamResponse
from switchgear.http.stream import Stream
from switchgear.http.tunnel import Relay
from switchgear.identity.revocations import Revocations
from switchgear.identity.tokens import Verified
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import Verdict

__all__ = ["outlasting"]


def outlasting(answer: Response, verified: Verified, revocations: Revocations) -> None:
    """Have an answer to who was `verified` end with the session, if it may be still under way then.

    One whose length is known ends soon enough.
    """
    if not isinstance(answer, StreamResponse):
        return
    body, session = answer.body, verified.session

    def end() -> None:
        if isinstance(body, Relay):
            body.revoke()
        elif isinstance(body, Stream):
            body.cut(Fault(Code.UNAUTHENTICATED, "the session was revoked amid the answer"))

    def over(_: Verdict) -> None:
        revocations.forget(session, end)

    if not session or (isinstance(body, Stream) and body.length is not None):
        return
    if revocations.covers(session, verified.issued):  # while it was asked for
        end()
        return
    revocations.outlast(session, end)
    answer.on_end(over)
