"""Every program runs on both loops, watched, beside a real PostgreSQL where it needs one."""

import asyncio
from collections.abc import Callable

import pytest

from tests.conformance.conftest import postgres_bench
from tests.support.entrance import clocked, watch
from tests.support.postgres import *  # noqa: F403 - fixtures

__all__ = ["postgres_bench", "watch"]

Loops = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture
def loop_factory(loop_factory: Loops) -> Loops:
    """Have both loops remember their timers."""
    return lambda: clocked(loop_factory())
