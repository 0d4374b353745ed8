"""From what asyncpg raises to faults, honest about whether it took effect."""

import asyncio
from typing import Final

import asyncpg

from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.sqlstate import of_sqlstate

__all__ = ["ORIGIN", "denied", "of_full_disk", "translate"]

ORIGIN: Final = "postgres"

_DENIED: Final = "42501"
# What of the server says so of a row, and of whoever asks for it: a row-level policy, and a trigger
# or function of the app's that raises it. Whatever else says it ("must be owner", "permission
# denied for table") says it of our role, whoever asks. (The words are in the server's language.)
_OF_WHO_ASKS: Final = frozenset({"ExecWithCheckOptions", "exec_stmt_raise"})


def translate(error: BaseException, *, committing: bool = False) -> Fault | None:
    """Return the fault that `error` means, or None for a defect (a wrong statement, say).

    That our role may not do what a statement says is a defect, too: no client can help it.

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
        # "Released": the pool lets go of a connection that is lost, whoever still has it.
        closed = any(word in str(error) for word in ("closed", "closing", "released"))
        return _fault(Code.UNAVAILABLE, error, unknown) if closed else None
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return _fault(Code.DEADLINE_EXCEEDED, error, unknown)
    if isinstance(error, OSError):
        return _fault(Code.UNAVAILABLE, error, unknown)
    return None


def denied(error: BaseException) -> Fault | None:
    """Return the fault of a statement of the platform's own that our role may not execute.

    Whoever grants it makes it work again: it is no reason for what is tried again to end.
    """
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return _fault(Code.INTERNAL, error, Effect.NONE)
    return None


def of_full_disk(error: BaseException | None) -> str:
    """Return what the server says of its disk, that is full; nothing for any other error."""
    while error is not None and not isinstance(error, asyncpg.DiskFullError):
        error = error.__cause__
    return "" if error is None else str(error).partition("\n")[0]


def _of_server(error: asyncpg.PostgresError, unknown: Effect) -> Fault | None:
    state = error.sqlstate or "08"
    if isinstance(error, asyncpg.DataError) and getattr(error, "severity", None) is None:
        # asyncpg could not encode an argument, and has sent nothing. One that is too large for its
        # column came from whoever asked; one of a wrong type is a wrong call.
        cause = error.__cause__  # of a float4 a ValueError, which says no more than that
        large = isinstance(cause, OverflowError) or "out of float32 range" in str(cause)
        return _fault(Code.OUT_OF_RANGE, error, Effect.NONE) if large else None
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return _fault(Code.ABORTED, error, Effect.NONE)  # a migration made the plan invalid
    found = of_sqlstate(state)
    if found is None:
        return None
    if state == _DENIED and getattr(error, "server_source_function", None) not in _OF_WHO_ASKS:
        return None
    # Of its disk or memory the server has too little: no client has asked for too much (429).
    full = found.code is Code.RESOURCE_EXHAUSTED
    code = Code.UNAVAILABLE if full else found.code
    return _fault(code, error, unknown if found.unsure else Effect.NONE)


def _fault(code: Code, error: BaseException, effect: Effect) -> Fault:
    said = str(error).splitlines()
    if said:
        words = said[0]
    else:  # a wait that was too long says nothing, and its type's name is no sentence
        late = isinstance(error, TimeoutError)
        words = "it did not answer in time" if late else type(error).__name__
    fault = Fault(code, f"postgres: {words}", effect=effect, origin=ORIGIN)
    fault.__cause__ = error
    return fault
