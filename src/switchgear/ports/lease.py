"""The lease port: one holder at a time of a name, and a fence that dates what it does."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from switchgear.core.drivers import Work

__all__ = ["Held", "Lease"]


class Held(Protocol):
    """A lease while it is held. `fence` grows with every holder of the name."""

    @property
    def fence(self) -> int: ...

    @property
    def lost(self) -> bool: ...

    def begin(self, work: Work) -> None:
        """Call `work` off when the lease is lost."""
        ...


class Lease(Protocol):
    """Names that one holder at a time may hold."""

    def hold(self, name: str, deadline: float) -> AbstractAsyncContextManager[Held]:
        """Wait for the name until `deadline`, hold it while the block runs, renew it meanwhile.

        Raises a Fault (unavailable) when somebody else holds it all that time.
        """
        ...
