"""The messages of the queue as a metric: what is known stays, whatever goes wrong."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from switchgear.assembly.bodies.worker import _count
from switchgear.assembly.roles import Post, RoleContext
from switchgear.assembly.settings import Settings
from switchgear.policy.fault import Code, Fault
from switchgear.telemetry.logs import Log
from switchgear.telemetry.writer import DescriptorSink, LogWriter

pytestmark = pytest.mark.virtual


class Queue:
    """Says one thing after the other, as a queue whose database comes and goes."""

    def __init__(self, *says: Any) -> None:
        self._says = iter(says)

    async def depths(self, deadline: float) -> dict[str, dict[str, int]]:
        found = next(self._says)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]  # the test's


async def test_what_is_known_stays_and_a_defect_is_told_and_ends_nothing(tmp_path: Path) -> None:
    target = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    writer = LogWriter(DescriptorSink(target))
    context = RoleContext(Post("worker"), Settings(), Log(writer, "t"), tell=lambda _: None)
    queue: Any = Queue(
        {"a": {"ready": 3}, "b": {"dead": 1}},
        Fault(Code.UNAVAILABLE),
        RuntimeError("of ours"),
        {"a": {"leased": 2}},
        {},
    )
    counting = asyncio.create_task(_count(context, queue, {"a"}))

    def told() -> dict[tuple[str, ...], float]:
        (shot,) = (one for one in context.registry.snapshot() if one.name == "queue_messages")
        return {one.labels: one.value for one in shot.series if one.value}

    seen = []
    await asyncio.sleep(1)
    for _ in range(4):
        seen.append(told())
        await asyncio.sleep(10)
    first = {("a", "ready"): 3, ("b", "dead"): 1}
    assert seen == [first, first, first, {("a", "leased"): 2}]
    assert told() == {}
    counting.cancel()
    await asyncio.wait([counting])
    writer.close()
    os.close(target)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [one["event"] for one in lines] == ["the messages of the queue could not be counted"]
    assert "RuntimeError: of ours" in json.dumps(lines[0])
