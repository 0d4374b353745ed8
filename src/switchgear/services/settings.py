"""How services answer, where the defaults do not serve."""

from typing import Annotated, Literal

import msgspec

__all__ = ["IdempotencySettings", "LoopSettings"]


class IdempotencySettings(msgspec.Struct, frozen=True):
    """What is recorded of requests that bear an idempotency key.

    An outcome is kept for `keep` seconds. The body of an answer is kept up to `answer_bytes`.
    """

    keep: Annotated[float, msgspec.Meta(gt=0)] = 86400.0
    answer_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1 << 20


class LoopSettings(msgspec.Struct, frozen=True):
    """How much of a service's event loop one route may take, once it runs late. In seconds.

    Once it runs `late` by that, and for `memory` longer, calls are timed. A route that takes a
    `share` of its time has only so many calls at once as compute for a `turn`; the others wait for
    them, for half of the time they have at most. With `mode` "observe" that is told and not done.
    """

    mode: Literal["enforce", "observe", "off"] = "enforce"
    late: Annotated[float, msgspec.Meta(gt=0)] = 0.05
    turn: Annotated[float, msgspec.Meta(gt=0)] = 0.1
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.2
    memory: Annotated[float, msgspec.Meta(gt=0)] = 10.0
