"""The call: what it says of itself when nothing else was said."""

from switchgear.policy.call import Call, Principal, Trace
from switchgear.policy.trail import Trail
from tests.unit.policy.settings import stays


def test_a_call_of_which_only_payload_and_deadline_are_known() -> None:
    call = Call("letter", 3.0)
    assert (call.payload, call.deadline) == ("letter", 3.0)
    assert call.attempt == 1
    assert call.repeatable is False
    assert (call.key, call.priority) == ("", 5)
    assert call.principal is None
    assert call.trace is None
    stays(call)


def test_every_call_has_a_trail_of_its_own() -> None:
    first, second = Call(None, 1.0), Call(None, 1.0)
    assert first.trail != second.trail, "alike, but not the same"
    trail = first.trail
    assert (trail.route, trail.attempts, trail.endpoints, trail.upstream) == ("", 0, [], 0.0)
    assert (trail.fault, trail.detail) == ("", "")
    assert Trail("GET /users").route == "GET /users"


def test_who_asks_and_for_which_trace_does_not_change_on_the_way() -> None:
    principal = Principal("ada")
    assert (principal.tenant, principal.scopes) == ("", frozenset())
    trace = Trace("0" * 32, "0" * 16)
    assert trace.sampled is True
    stays(principal)
    stays(trace)
