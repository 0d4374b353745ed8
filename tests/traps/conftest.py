"""The embedded PostgreSQL, for the traps that reach a database."""

from tests.conformance.conftest import postgres_bench
from tests.support.postgres import *  # noqa: F403 - fixtures

__all__ = ["postgres_bench"]
