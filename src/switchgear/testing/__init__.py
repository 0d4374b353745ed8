"""What tests of an app need: time that jumps, faults that strike when told, events written down.

::

    from switchgear.testing import Chaos, EventRecorder, Failure, advance, clock, run

    run(main())                     # on a loop whose time jumps to the next timer: no waiting
    clock()                         # that time, as a `Policy` takes it
    await advance(30.0)             # let it pass, and all that is due with it happen

    Chaos(seed=7, faults=[Failure(rate=0.2)])   # a fifth of the calls fails, the same each time
    EventRecorder()                             # an observer to ask questions of

Nothing here needs a test framework. The names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from switchgear.testing.chaos import Chaos as Chaos
    from switchgear.testing.injections import Altered as Altered
    from switchgear.testing.injections import Answer as Answer
    from switchgear.testing.injections import Failure as Failure
    from switchgear.testing.injections import Hang as Hang
    from switchgear.testing.injections import Injection as Injection
    from switchgear.testing.injections import Latency as Latency
    from switchgear.testing.override import overridden as overridden
    from switchgear.testing.recorder import EventRecorder as EventRecorder
    from switchgear.testing.virtual import START as START
    from switchgear.testing.virtual import Stuck as Stuck
    from switchgear.testing.virtual import VirtualLoop as VirtualLoop
    from switchgear.testing.virtual import advance as advance
    from switchgear.testing.virtual import clock as clock
    from switchgear.testing.virtual import run as run

# Where each public name lives. A test holds this and the imports above to one another.
_HOMES = {
    "START": "switchgear.testing.virtual",
    "Altered": "switchgear.testing.injections",
    "Answer": "switchgear.testing.injections",
    "Chaos": "switchgear.testing.chaos",
    "EventRecorder": "switchgear.testing.recorder",
    "Failure": "switchgear.testing.injections",
    "Hang": "switchgear.testing.injections",
    "Injection": "switchgear.testing.injections",
    "Latency": "switchgear.testing.injections",
    "Stuck": "switchgear.testing.virtual",
    "VirtualLoop": "switchgear.testing.virtual",
    "advance": "switchgear.testing.virtual",
    "clock": "switchgear.testing.virtual",
    "overridden": "switchgear.testing.override",
    "run": "switchgear.testing.virtual",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'switchgear.testing' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value  # the next look-up finds it here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
