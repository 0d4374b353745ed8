"""The embedded PostgreSQL, for every test of this folder."""

from tests.support.postgres import *  # noqa: F403 - fixtures
