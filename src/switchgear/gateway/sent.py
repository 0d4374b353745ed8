"""Sent: an attempt of the express way, from when it is written until its answer is there."""

from switchgear.core.attempt import Attempt
from switchgear.core.cut import Cut
from switchgear.core.drivers import Wait, Work
from switchgear.core.endings import judged
from switchgear.gateway.lane import Way
from switchgear.gateway.onward import FIRST
from switchgear.http.client import Upstream
from switchgear.http.message import Request, Response
from switchgear.policy.call import Call
from switchgear.policy.native import native
from switchgear.policy.verdict import GOOD

__all__ = ["Sent"]


@native(free_list_len=1)
class Sent(Cut):
    """An attempt that is on its way, which is its own alarm: from `at`, on a `way`.

    `epoch` and `over` are the generations of the breakers that were passed by hand: the process's
    and the service's. `answer` or `error` is what it came to. Who has sent it says on what
    `connection`, and its `wire`.
    """

    __slots__ = ("answer", "at", "call", "connection", "epoch", "error", "over", "waiter", "way",
                 "wire")  # fmt: skip

    connection: Upstream
    wire: bytes

    def __init__(
        self, way: Way, call: Call[Request], at: float, limit: float, work: Work, over: int
    ) -> None:
        super().__init__(way.frame, work, limit, work.cancelling(), by_hand=True)
        self.way = way
        self.call = call
        self.at = at
        self.epoch = way.breaker.generation
        self.over = over
        self.waiter = Wait()
        self.answer: Response | None = None
        self.error: BaseException | None = None

    async def conclude(self) -> Response:
        """Settle the gates of its way, and return or raise what it came to."""
        frame, call = self.way.frame, self.call
        until = call.deadline - FIRST
        attempt = Attempt(frame, self.at, until, None, repeatable=call.repeatable)
        held = frame.named(None, self.epoch, self.at, self.limit, inside=True)
        attempt.take(held, self.at, self.limit, 1, call)
        error = self.error
        if self.answer is not None and error is None:
            try:
                answer = self.way.process.received(self.answer)
                judge = frame.kit.judge
                verdict = GOOD if judge is None else judged(judge, answer)
            except BaseException as failed:  # noqa: BLE001 - raised below, when the gates know it
                error = failed
            else:
                attempt.won(answer, verdict, in_time=not self.rings)
                return answer
        assert error is not None  # noqa: S101 - it came to one or the other
        failure = attempt.lost(error, self)
        assert failure is not None  # noqa: S101 - there is no retry in this frame
        if failure is error:
            raise error
        raise failure from failure.__cause__
