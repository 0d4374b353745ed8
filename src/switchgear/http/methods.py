"""Methods: which there are, and which may be sent twice."""

from typing import Final

__all__ = ["IDEMPOTENCY_KEY", "METHODS", "REPEATABLE"]

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
"""Doing these twice does no more than doing them once. Source: RFC 9110 section 9.2.2."""

IDEMPOTENCY_KEY: Final = "idempotency-key"
"""The field by which others are made so, where it is heeded.

Source: draft-ietf-httpapi-idempotency-key-header.
"""
