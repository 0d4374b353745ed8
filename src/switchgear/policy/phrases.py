"""Reason phrases: what statuses are called.

Source: RFC 9110 section 15. Older Pythons have the names of older ones.
"""

from http import HTTPStatus
from typing import Final

__all__ = ["phrase"]

_RENAMED: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


def phrase(status: int) -> str:
    """Return the name of a status. Raises ValueError where it has none."""
    return _RENAMED.get(status) or HTTPStatus(status).phrase
