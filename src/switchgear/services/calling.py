"""Calling: what answers the calls of one endpoint, under its deadline, from arguments to an answer.

Source: RFC 9110 sections 8.3 and 8.4 (content types and codings).
"""

from collections.abc import Callable, Coroutine, Mapping
from threading import get_ident
from typing import Any, Final

from msgspec.structs import replace

from switchgear.binding.plan import Plan
from switchgear.core.ambient import ambient
from switchgear.core.attempt import Attempt
from switchgear.core.confining import confine
from switchgear.core.cut import Cut
from switchgear.core.delivery import Delivery
from switchgear.core.drivers import task_on, working
from switchgear.core.frames import Frame
from switchgear.core.outcome import Done, Failed
from switchgear.core.timeout import expired
from switchgear.http.handshake import is_own
from switchgear.http.message import Request, Response
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.verdict import GOOD
from switchgear.services.answers import Answering
from switchgear.services.given import HttpGiven

__all__ = ["Answers", "Calling", "Excuse", "read_json"]

# What is imported is looked up by its name where this is compiled, and these are not.
_set_ambient: Final = ambient.set
_reset_ambient: Final = ambient.reset
_ident: Final = get_ident

_JSON_ONLY: Final = "Send JSON, with content-type: application/json."
_NEAR: Final = ("same-origin", "none")  # as a gateway has it: "none" is somebody's own hand

Answers = Callable[[Call[HttpGiven]], Coroutine[Any, Any, Response]]
"""Answers one call of an endpoint."""

Excuse = Callable[[Exception, Call[Request]], None]
"""Is shown what failed before it is settled, and may add to it what only the host knows."""


class Calling:
    """What answers the calls of one plan, with a body of at most `limit` bytes where it reads one.

    `frame` holds the deadline, which is all that stands around it, and a call has `latest` seconds
    from when it gets here, if not less.
    """

    def __init__(
        self, frame: Frame, plan: Plan, answer: Answering, limit: int, latest: float, excuse: Excuse
    ) -> None:
        self._frame = frame
        self._plan = plan
        self._answer = answer
        self._limit = limit
        self._latest = latest
        self._excuse = excuse
        self._reads = plan.body is not None

    async def run(
        self,
        call: Call[Request],
        path: Mapping[str, str],
        delivery: Delivery[Request, Response] | None = None,
    ) -> Any:
        """Answer a call, or raise; where there is a `delivery`, settle it, as `dispatch` would.

        It is `dispatch`, the frame of the deadline, and what they call in one, because a coroutine
        of its own for each would cost 0.1 us. (`bench/rest` holds the figures.)
        """
        frame = self._frame
        now: float = frame.clock()
        until = now + self._latest
        cut: Cut | None = None
        failure: BaseException | None = None
        response: Any = None
        try:
            desk = frame.desk
            driver: Any = None
            if desk.place.thread == _ident() and desk.place.stepper is None:
                driver = task_on(desk.loop)
            if driver is None:  # another thread, another loop, or no task
                desk = frame.desk = frame.kit.desk()
                driver = working()
            if delivery is not None:
                delivery.begin(driver)
            if until < call.deadline:
                call = replace(call, deadline=until)
            else:
                until = call.deadline
            if until <= now:
                raise expired(frame.kit.name, until - now)
            cut = frame.cuts.take(frame, desk.sweep, driver, until, by_hand=False)
            given = HttpGiven(call, path)
            if self._reads:
                given.body = await read_json(call.payload, self._limit)
            token = _set_ambient(call)
            try:
                result = await self._plan.call(given)
            except BaseException as error:
                confine(error, driver)
                raise
            response = self._answer(result)
            if response.__class__ is Response:  # else some of the handler's runs on, to stream
                _reset_ambient(token)
        except BaseException as error:  # noqa: BLE001 - it is settled, and then goes on
            failure = self._lost(error, cut, call, now, until)
            if delivery is None or isinstance(failure, GeneratorExit):  # none could settle it now
                try:
                    if failure is error:
                        raise
                    raise failure from failure.__cause__
                finally:
                    failure = None  # it holds its traceback, and that one this frame
            if isinstance(failure, Exception):
                self._excuse(failure, delivery.call)
        else:
            if not cut.rings and response.__class__ is Response:
                frame.cuts.give(cut)
            else:
                failure = self._won(response, cut, call, now, until)
                if failure is not None and delivery is None:
                    raise failure
        if delivery is None:
            return response
        settling = delivery.settle(Done(response) if failure is None else Failed(failure))
        if settling is not None:
            await settling
        if failure is not None and not isinstance(failure, Exception):
            raise failure
        failure = None  # as above
        return None

    def _lost(
        self, error: BaseException, cut: Cut | None, call: Call[Request], begun: float, until: float
    ) -> BaseException:
        """Take in that it raised; return what the call is to raise."""
        attempt = self._attempt(cut, call, begun, until)
        return attempt.lost(error, cut) or error

    def _won(
        self, answer: Response, cut: Cut, call: Call[Request], begun: float, until: float
    ) -> BaseException | None:
        """Take in an answer that streams, or that came of work which was called off.

        Return why nobody gets it, where that is so.
        """
        attempt = self._attempt(cut, call, begun, until)
        try:
            attempt.won(answer, GOOD, in_time=not cut.rings)
        except BaseException as defect:  # noqa: BLE001 - it is what the call fails of
            return defect
        return None

    def _attempt(self, cut: Cut | None, call: Call[Request], begun: float, until: float) -> Attempt:
        """Make an attempt of a call that did not simply go well, once its alarm is disarmed."""
        if cut is not None:
            cut.disarm()
            if cut.rings:
                cut.off()
        attempt = Attempt(self._frame, begun, until, None, repeatable=call.repeatable)
        attempt.take(None, begun, until, 1, call)
        return attempt


async def read_json(request: Request, limit: int) -> bytes:
    """Read a body that must be JSON. A form that a page of somebody else's sent is none.

    Nor is what such a page sends without a type, which its browser asks nobody about either.
    """
    told = request.headers.get("content-type")
    if told is None:
        if _from_elsewhere(request):
            raise _unfit("a page of elsewhere says no content type", _JSON_ONLY)
    elif told != "application/json":
        kind = told.partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise _unfit(f"the content type is {kind[:60]!r}", _JSON_ONLY)
    coding = request.headers.get("content-encoding")
    if coding is not None and coding.strip().lower() not in ("", "identity"):
        raise _unfit(
            f"the content coding is {coding[:60]!r}",
            "Send the body as it is, without a content-encoding.",
        )
    return await request.body.read(limit)


def _from_elsewhere(request: Request) -> bool:
    """Say whether a page of another origin may have had a browser send it, and nobody was asked.

    One that bears a token was: the browser sends it for no page that may not send it.
    """
    field = request.headers.get
    site, origin = field("sec-fetch-site"), field("origin")
    if field("authorization") is not None:
        return False
    if site is not None:
        return site not in _NEAR
    return origin is not None and not is_own(origin, request)


def _unfit(detail: str, public: str) -> Fault:
    """Make the fault of a body in a form that is not read here."""
    return Fault(
        Code.INVALID_ARGUMENT, detail, effect=Effect.NONE, public=public, extra={"status": 415}
    )
