"""From what asyncpg raises to faults, honest about whether it took effect.

Source of the codes: PostgreSQL, appendix A, "PostgreSQL Error Codes".
"""

import asyncio
from typing import Final

import asyncpg

from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["ORIGIN", "translate"]

ORIGIN: Final = "postgres"

# By SQLSTATE, longest first; a class of two letters stands for all its members.
CODES: Final = {
    "40": Code.ABORTED,  # serialization failure, deadlock
    "55P03": Code.ABORTED,  # lock_timeout
    "0A000": Code.ABORTED,  # a cached plan that a migration made invalid; others are defects
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
BROKEN: Final = ("08", "57P")  # the connection is gone, whatever was under way


def translate(error: BaseException, *, committing: bool = False) -> Fault | None:
    """Return the fault that `error` means, or None for a defect (a wrong statement, say).

    While `committing`, a lost connection leaves the effect UNKNOWN; before that nothing was
    committed, so it is surely NONE.
    """
    if isinstance(error, Fault):
        return error
    unknown = Effect.UNKNOWN if committing else Effect.NONE
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(error, unknown)
    if isinstance(error, asyncpg.InternalClientError):
        return _fault(Code.UNAVAILABLE, error, unknown)
    if isinstance(error, asyncpg.InterfaceError):
        closed = "closed" in str(error) or "closing" in str(error)
        return _fault(Code.UNAVAILABLE, error, unknown) if closed else None
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return _fault(Code.DEADLINE_EXCEEDED, error, unknown)
    if isinstance(error, OSError):
        return _fault(Code.UNAVAILABLE, error, unknown)
    return None


def _of_server(error: asyncpg.PostgresError, unknown: Effect) -> Fault | None:
    state = error.sqlstate or "08"
    if isinstance(error, asyncpg.DataError) and getattr(error, "severity", None) is None:
        return None  # asyncpg could not encode an argument: a wrong call, never sent
    if state == "0A000" and not isinstance(error, asyncpg.InvalidCachedStatementError):
        return None
    for length in (5, 3, 2):
        code = CODES.get(state[:length])
        if code is not None:
            broken = state.startswith(BROKEN) or code is Code.DEADLINE_EXCEEDED
            return _fault(code, error, unknown if broken else Effect.NONE)
    return None


def _fault(code: Code, error: BaseException, effect: Effect) -> Fault:
    words = str(error).splitlines()[0] if str(error) else type(error).__name__
    fault = Fault(code, f"postgres: {words}", effect=effect, origin=ORIGIN)
    fault.__cause__ = error
    return fault
