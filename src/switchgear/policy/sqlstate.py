"""SQLSTATE: what the five letters of a PostgreSQL error mean, whichever driver brings them.

Source: PostgreSQL, appendix A, "PostgreSQL Error Codes".
"""

from typing import Final, NamedTuple

from switchgear.policy.fault import Code

__all__ = ["State", "of_sqlstate"]

# The longest that fits counts; a class of two letters stands for all its members.
_CODES: Final = {
    "40": Code.ABORTED,  # serialization failure, deadlock
    "40003": Code.UNAVAILABLE,  # nobody knows whether the statement completed
    "55P03": Code.ABORTED,  # lock_timeout
    "23505": Code.ALREADY_EXISTS,
    "23P01": Code.ALREADY_EXISTS,  # an exclusion constraint: something is there already
    "23": Code.FAILED_PRECONDITION,
    "22": Code.INVALID_ARGUMENT,
    "42501": Code.PERMISSION_DENIED,  # row-level security says it so, too
    "57014": Code.DEADLINE_EXCEEDED,  # statement_timeout
    "25P03": Code.DEADLINE_EXCEEDED,  # idle in transaction for too long
    "25P04": Code.DEADLINE_EXCEEDED,  # transaction_timeout
    "25006": Code.UNAVAILABLE,  # read-only: a failover has left us at a standby
    "53300": Code.UNAVAILABLE,  # too many connections
    "53": Code.RESOURCE_EXHAUSTED,  # disk, memory
    "57P": Code.UNAVAILABLE,  # shutting down, crashed, starting up
    "08": Code.UNAVAILABLE,
    "28": Code.UNAVAILABLE,  # our own login was refused: nobody can be served
    "3D": Code.UNAVAILABLE,
}
_BROKEN: Final = ("08", "40003", "57P")  # the connection is gone, whatever was under way
_NEVER: Final = ("08001", "08004", "57P03")  # there was none: nothing was under way


class State(NamedTuple):
    """The `code` of a state, and whether it leaves `unsure` what became of the work."""

    code: Code
    unsure: bool


def of_sqlstate(state: str) -> State | None:
    """Say what a state means; None for what is a defect of the statement, as wrong syntax is."""
    for length in (5, 3, 2):
        code = _CODES.get(state[:length])
        if code is not None:
            broken = state.startswith(_BROKEN) and state not in _NEVER
            return State(code, broken or code is Code.DEADLINE_EXCEEDED)
    return None
