"""Confining: what user code raises that is no ordinary error, kept to the one call that raised it.

A cancellation that nobody asked for (something that the code awaited was cancelled) would else pass
for work that was called off, and an exit would end the process with everybody else's work.
"""

from asyncio import CancelledError, Runner
from signal import SIGINT, default_int_handler, getsignal
from threading import current_thread, main_thread

from switchgear.core.drivers import Work, working
from switchgear.policy.crossing import declared, worded

__all__ = ["confine", "confined"]


def confine(error: BaseException, driver: Work | None) -> None:
    """Raise the defect, or the declared fault, that a caught `error` amounts to.

    It returns where `error` itself goes on: whoever caught it raises it again.

    Raises:
        Exception: what `confined` makes of `error`.
    """
    defect = confined(error, driver)
    if defect is not None:
        raise defect


def confined(error: BaseException, driver: Work | None = None) -> Exception | None:
    """Return the defect, or the declared fault, that `error` amounts to; None where it goes on.

    It has its cause with it: `raise ... from` says none in compiled code. An ordinary error goes
    on, and what comes of work that was called off, but for an exit; so do an interrupt that may be
    one from the keyboard, and the end of a coroutine that was thrown away. That has left the hands
    of its `driver`, who has driven the code so far: a GeneratorExit there is the code's own.
    """
    if isinstance(error, Exception):
        return None
    if isinstance(error, GeneratorExit) and not _drives(driver):
        return None
    exits = isinstance(error, (SystemExit, KeyboardInterrupt))
    if not exits and working().cancelling():
        return None
    if isinstance(error, KeyboardInterrupt) and _interruptible():
        return None
    defect: Exception
    if isinstance(error, CancelledError):
        defect = RuntimeError("something that it awaited was cancelled, and nobody called it off")
    else:
        words = f"it raised what is no ordinary error: {worded(error)}"
        defect = declared(error) or RuntimeError(words)
    defect.__cause__ = error
    return defect


def _drives(driver: Work | None) -> bool:
    """Say whether the work that asks is driven by `driver`."""
    try:
        return driver is not None and working() is driver
    except RuntimeError:  # nobody drives it: it is closed as whoever held it is
        return False


def _interruptible() -> bool:
    """Say whether Ctrl-C raises an interrupt here: then nobody can tell it from another's.

    Where the signal is ignored or has a handler of ours, as in every process of a role, or in a
    thread that gets no signals, it is the work that raised it: taken for the operator's, it would
    end the process with each attempt, and be none.
    """
    if current_thread() is not main_thread():
        return False
    handler = getsignal(SIGINT)
    runs = getattr(getattr(handler, "func", None), "__self__", None)  # of the second Ctrl-C
    return handler is default_int_handler or isinstance(runs, Runner)
