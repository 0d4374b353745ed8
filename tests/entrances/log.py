"""A pipeline: a log in parallel lanes, in order per key, to a checkpoint without gaps."""

import asyncio
from typing import NamedTuple

from switchgear.core.clock import FINE
from switchgear.core.consume import consume
from switchgear.core.drivers import Work
from switchgear.core.handler import Handler
from switchgear.core.outcome import Done, Outcome
from switchgear.policy.call import Call
from switchgear.policy.checkpoint import Checkpoint


class Record(NamedTuple):
    offset: int
    text: str


class RecordDelivery:
    """One record; settling it moves the checkpoint as far as there is no gap."""

    def __init__(self, record: Record, key: str, checkpoint: Checkpoint) -> None:
        self.call: Call[Record] = Call(record, FINE() + 30.0, key=key)
        self._checkpoint = checkpoint

    def begin(self, work: Work) -> None:
        """Nothing calls a record off but the end of its pipeline."""

    async def settle(self, outcome: Outcome[None]) -> None:
        """Count what was done; what failed ends the pipeline, to be read again from the gap."""
        if isinstance(outcome, Done):
            self._checkpoint.settle(self.call.payload.offset)
        elif not isinstance(outcome.error, asyncio.CancelledError):
            raise outcome.error


class LogSource:
    """The records of a stream of lines `key text`, from behind a checkpoint."""

    def __init__(self, reader: asyncio.StreamReader, checkpoint: Checkpoint) -> None:
        self._reader = reader
        self._checkpoint = checkpoint
        self._offset = checkpoint.reached

    async def take(self) -> RecordDelivery | None:
        """Read one record; None at the end of the log."""
        line = (await self._reader.readline()).decode()
        if not line:
            return None
        if not line.endswith("\n"):
            raise ConnectionError(f"the log was cut within record {self._offset + 1}")
        self._offset += 1
        self._checkpoint.take(self._offset)
        key, _, text = line.strip().partition(" ")
        return RecordDelivery(Record(self._offset, text), key, self._checkpoint)

    async def run(self, handler: Handler[Record, None]) -> None:
        """Work the log off in four lanes; records wait behind a busy key, and not for others."""
        await consume(self, handler, lanes=4, parked=16)
