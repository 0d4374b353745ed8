"""How services answer, where the defaults do not serve."""

from typing import Annotated

import msgspec

__all__ = ["IdempotencySettings"]


class IdempotencySettings(msgspec.Struct, frozen=True):
    """What is recorded of requests that bear an idempotency key.

    An outcome is kept for `keep` seconds. The body of an answer is kept up to `answer_bytes`.
    """

    keep: Annotated[float, msgspec.Meta(gt=0)] = 86400.0
    answer_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1 << 20
