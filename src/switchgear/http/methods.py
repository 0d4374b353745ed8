"""Methods: which there are, which may be sent twice, and which change nothing."""

from typing import Final

__all__ = ["IDEMPOTENCY_KEY", "METHODS", "REPEATABLE", "SAFE"]

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
"""Doing these twice does no more than doing them once. Source: RFC 9110 section 9.2.2."""

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Nothing changes by these (RFC 9110 section 9.2.1). TRACE is served nowhere."""

IDEMPOTENCY_KEY: Final = "idempotency-key"
"""The field by which others are made so, where it is heeded.

Source: draft-ietf-httpapi-idempotency-key-header.
"""
