"""Trails: what happened to one call so far."""

__all__ = ["Trail"]


class Trail:
    """Written by the stack, read by balancers and logs.

    It is the one mutable part of a call, shared by its attempts. `endpoints` are the names tried in
    order; `upstream` is the time spent in them, in seconds. `fault` is the code that was answered,
    `detail` what an operator should know of it.
    """

    __slots__ = ("attempts", "detail", "endpoints", "fault", "route", "upstream")

    def __init__(self, route: str = "") -> None:
        self.route = route
        self.attempts = 0
        self.endpoints: list[str] = []
        self.upstream = 0.0
        self.fault = ""
        self.detail = ""
