"""Trails: what happened to one call so far."""

from math import inf

from switchgear.policy.native import native

__all__ = ["Trail"]


@native(free_list_len=1)
class Trail:
    """Written by the stack, read by balancers and logs.

    It is the one mutable part of a call, shared by its attempts. `begun` is the instant at which
    the first of them began. `endpoints` are the names tried in order; `upstream` is the time spent
    in them, in seconds. `fault` is the code that was answered, `detail` what an operator should
    know of it.
    """

    __slots__ = ("attempts", "begun", "detail", "endpoints", "fault", "route", "upstream")

    def __init__(self, route: str = "") -> None:
        self.route = route
        self.attempts = 0
        self.begun = inf
        self.endpoints: list[str] = []
        self.upstream = 0.0
        self.fault = ""
        self.detail = ""
