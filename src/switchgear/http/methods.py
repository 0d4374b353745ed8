"""Methods: which there are, and which may be sent twice."""

from typing import Final

__all__ = ["METHODS", "REPEATABLE"]

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
"""Doing these twice does no more than doing them once. Source: RFC 9110 section 9.2.2."""
