"""What a call's trail says before anything was written on it."""

from math import inf

from switchgear.policy.trail import Trail


def test_a_new_trail_has_seen_nothing() -> None:
    trail = Trail()
    assert (trail.route, trail.attempts, trail.endpoints, trail.upstream) == ("", 0, [], 0.0)
    assert (trail.fault, trail.detail, trail.begun) == ("", "", inf)
    assert Trail("GET /users").route == "GET /users"


def test_no_two_trails_share_their_endpoints() -> None:
    first, second = Trail(), Trail()
    first.endpoints.append("a")
    assert second.endpoints == []
