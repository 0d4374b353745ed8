"""Running one role's body on a loop, whoever hosts it: a child, a container, a developer."""

import asyncio
import gc
import signal
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from switchgear.assembly.failures import StartError
from switchgear.assembly.roles import Role, RoleContext
from switchgear.telemetry.logs import Log
from switchgear.telemetry.printed import Flood
from switchgear.telemetry.process import LagProbe, register_process

__all__ = ["UNSTARTABLE", "LogWatch", "equip", "freeze", "loop_factory", "run_body", "stops"]

UNSTARTABLE = 78  # EX_CONFIG: starting it again would not help


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the event loop: uvloop where it is installed."""
    if find_spec("uvloop") is not None:
        import uvloop

        made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return made
    return asyncio.new_event_loop


def stops() -> list[signal.Signals]:
    """Return the signals that ask for an orderly end.

    Under nohup, SIGHUP is ignored, and is to stay so.
    """
    held = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *(() if held else (signal.SIGHUP,))]


def equip(context: RoleContext, loop: asyncio.AbstractEventLoop) -> LagProbe:
    """Give a process its figures, its verbs, and a place for errors that nobody awaited."""
    log = context.log
    probe = LagProbe(context.registry, clock=time.perf_counter, told=context.late)
    register_process(context.registry, log.writer, context.unprinted)
    probe.start(loop)
    loop.set_exception_handler(lambda _, told: _unhandled(log, told))

    async def metrics(_: Any) -> Any:
        return context.registry.snapshot()

    async def state(_: Any) -> Any:
        return {
            "label": context.label,
            "generation": context.post.generation,
            "draining": context.draining.is_set(),
            "degraded": dict(context.reasons),
            "requests": context.requests(),
        }

    async def tasks(_: Any) -> Any:
        return sorted(map(_where, asyncio.all_tasks()))

    context.answers.update(metrics=metrics, state=state, tasks=tasks)
    return probe


async def run_body(context: RoleContext, body: Role) -> int:
    """Run a role until it has drained; return the exit code of its process.

    Raises:
        StartError: the role says that something outside must change before it can start.
    """
    try:
        await body(context)
    except StartError:
        raise
    except Exception as error:  # noqa: BLE001 - a defect ends this process, told and counted
        context.log.failed("the role failed", error)
        return 1
    if context.draining.is_set():
        return 1 if context.overran else 0
    context.log.error("the role returned although nobody asked it to drain")
    return 1


class LogWatch:
    """Look, again and again, after what this process writes and prints, and say what was lost."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._flood = Flood(context.unprinted)

    def look(self, *, last: bool = False) -> None:
        """Tell of a log that cannot be written, and try again: nothing else may want a line."""
        log = self._context.log
        why = log.writer.trouble()
        if why:
            log.warning("lines of the log were lost", lost=log.writer.dropped)
        self._context.degraded("log", why or None)
        lost = self._flood.over(last=last)
        if lost:
            log.warning("printed lines were lost", lost=lost)


def freeze() -> None:
    """Take all that was made at start out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()


def _unhandled(log: Log, told: dict[str, Any]) -> None:
    message = str(told.get("message", "an error that nobody handled"))
    error = told.get("exception")
    if isinstance(error, BaseException):
        log.failed(message, error)
    else:
        log.error(message)


def _where(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    place = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "done"
    return f"{task.get_name()} {task.get_coro()!r:.120} at {place}"
