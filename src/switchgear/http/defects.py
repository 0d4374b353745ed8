"""Defects: what a handler raised that is no fault goes to the log, with its traceback."""

import logging
from typing import Final

from switchgear.http.message import Request
from switchgear.policy.call import Call

__all__ = ["log_defect"]

_log: Final = logging.getLogger("switchgear.http")


def log_defect(error: BaseException, call: Call[Request]) -> None:
    """Log a defect with its traceback, and which request met it."""
    request = call.payload
    _log.error("defect in %s %s", request.method, request.path, exc_info=error)
