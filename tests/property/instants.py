"""Durations in eighths of a second: exact in binary, so that models compare without tolerance."""

from hypothesis import settings
from hypothesis import strategies as st

__all__ = ["brief", "instants"]

instants = st.one_of(st.just(0), st.integers(0, 8), st.integers(0, 400)).map(lambda n: n / 8)

brief = settings(max_examples=60, stateful_step_count=60, deadline=None)
