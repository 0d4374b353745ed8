"""Forgetting: recorded outcomes go when they have expired, a few at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from switchgear.core.clock import FINE
from switchgear.policy.fault import Fault
from switchgear.ports.records import Records
from switchgear.ports.tables import Tables

__all__ = ["forgetting"]

MOST: Final = 1000  # at a time: a sweep must not hold a connection that requests wait for
_EVERY: Final = 60.0  # seconds between two looks that found little
_SOON: Final = 0.2  # seconds to the next look after one that found much
_PATIENCE: Final = 5.0  # seconds for one look


@asynccontextmanager
async def forgetting(
    records: Records,
    tables: Tables,
    on_defect: Callable[[Exception], None],
    *,
    every: float = _EVERY,
) -> AsyncIterator[None]:
    """Forget what has expired while the block runs. A server that is away is looked for again."""

    async def look() -> None:
        while True:
            gone = 0
            try:
                async with tables.transaction(FINE() + _PATIENCE) as tx:
                    gone = await records.forget(tx, MOST)
            except Fault:
                pass  # whoever watches the database says so
            except Exception as error:  # noqa: BLE001 - else they would be kept for good
                on_defect(error)
            await asyncio.sleep(_SOON if gone == MOST else every)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
