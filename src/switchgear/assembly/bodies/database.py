"""The database as a role uses it: tables at the offered address, watched and told when away."""

import asyncio
from typing import Final

from switchgear.assembly.failures import StartError
from switchgear.assembly.roles import RoleContext
from switchgear.core.clock import FINE
from switchgear.engines.postgres.dsn import Dsn
from switchgear.policy.fault import Fault
from switchgear.ports.tables import Tables

__all__ = ["dsn_of", "watch"]

_EVERY: Final = 1.0  # seconds between two looks
_PATIENCE: Final = 1.0  # seconds for an answer


def dsn_of(context: RoleContext, offer: str) -> Dsn:
    """Return the address that the role was offered.

    Raises StartError where it was offered none.
    """
    url = context.offers.get(offer)
    if url is None:
        raise StartError(f"{context.label} needs the database address {offer!r} and was given none")
    return Dsn.parse(url)


async def watch(context: RoleContext, tables: Tables) -> None:
    """Look after the database for as long as the role runs: degraded while it does not answer.

    The process stays ready all the while: a shared database that is down would else turn every
    replica unready at once.
    """
    while True:
        try:
            await tables.probe(FINE() + _PATIENCE)
        except Fault as fault:
            context.degraded("database", fault.detail)
        else:
            context.degraded("database", None)
        await asyncio.sleep(_EVERY)
