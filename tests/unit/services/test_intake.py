"""The intake: what a gateway says becomes the call, and what anybody else says is refused."""

from typing import Any

import pytest

from switchgear.http.headers import Headers
from switchgear.http.message import Request
from switchgear.identity.internal import InternalTokens, Vouched
from switchgear.identity.shared import SharedKeys
from switchgear.policy.call import Principal, Trace
from switchgear.policy.fault import Code, Fault
from switchgear.services.intake import MARGIN, Intake

NOW, WALL = 1000.0, 1.7e9
TOKENS = InternalTokens(SharedKeys({"boot": b"k" * 32}, "boot"))
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def sent(
    method: str = "GET", path: str = "/a", vouched: Vouched | None = None, **fields: str
) -> Request:
    token = TOKENS.mint(vouched or Vouched(), "service", "GET", "/a", "an-id", WALL)
    told = {
        "host": "shop.example",
        "x-forwarded-for": "203.0.113.9",
        "x-forwarded-proto": "https",
        "x-request-id": "an-id",
        "traceparent": PARENT,
        "switchgear-token": token,
        "switchgear-deadline-ms": "2000",
    }
    told |= {name.replace("_", "-"): value for name, value in fields.items()}
    headers = Headers({name: value for name, value in told.items() if value})
    return Request(method, path, headers=headers, peer="unix")


def take(request: Request, wall: float = WALL) -> Any:
    return Intake(TOKENS, "service", wall=lambda: wall)(request, NOW)


def test_what_the_gateway_says_becomes_the_call() -> None:
    ada = Principal("ada", "acme", frozenset({"read"}))
    call = take(sent(vouched=Vouched(ada)))
    assert call.principal == ada
    assert call.trace == Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert call.deadline == pytest.approx(NOW + 2.0 * MARGIN)
    assert (call.repeatable, call.priority) == (True, 5)
    assert take(sent(vouched=Vouched(exempt=True))).priority == 9


def test_user_code_sees_the_clients_request_and_nothing_between_us() -> None:
    request = take(sent()).payload
    assert (request.peer, request.scheme) == ("203.0.113.9", "https")
    assert not [name for name, _ in request.headers if name.startswith("switchgear")]
    assert request.headers["host"] == "shop.example"


@pytest.mark.parametrize(
    "left", ["", "x", "-1", "1.5", "9999999999", "2000, 1", "\u0661", "1e3", " 1"]
)
def test_a_deadline_that_cannot_be_read_is_the_longest(left: str) -> None:
    assert take(sent(switchgear_deadline_ms=left)).deadline == NOW + 300.0


def test_a_deadline_that_has_passed_is_none_to_work_in() -> None:
    assert take(sent(switchgear_deadline_ms="0")).deadline == NOW
    assert take(sent(switchgear_deadline_ms="999999999")).deadline == NOW + 300.0


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: sent(switchgear_token=""),
        lambda: sent(switchgear_token="x"),
        lambda: sent(method="POST"),
        lambda: sent(path="/b"),
        lambda: sent(x_request_id="another"),
    ],
)
def test_who_is_not_vouched_for_is_refused(request_of: Any) -> None:
    with pytest.raises(Fault) as refused:
        take(request_of())
    assert refused.value.code is Code.UNAUTHENTICATED
    assert refused.value.public == "This service answers only through its gateway."


def test_a_token_does_not_serve_for_long() -> None:
    with pytest.raises(Fault, match="expired"):
        take(sent(), WALL + 31)


def test_a_trace_that_is_none_is_none() -> None:
    assert take(sent(traceparent="x")).trace is None
