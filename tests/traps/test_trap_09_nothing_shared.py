"""Trap 9: no breaker state is shared between processes as a verdict.

Else one node with a bad cable opens the breaker of all the others, which reach it well.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

import switchgear
from switchgear.assembly.topology import Endpoint, Topology
from switchgear.policy.breaker import State
from switchgear.policy.fault import Code, Fault
from switchgear.testing import advance
from tests.support.gateway import House, answer, failing, public
from tests.traps.world import answer as well
from tests.traps.world import away, ended, make

CHILD = """
import asyncio
from switchgear import Policy

async def away(): raise ConnectionRefusedError

async def main():
    stock = Policy("stock", attempts=1)
    for _ in range(20):
        try: await stock.call(away)
        except Exception: pass
    print(stock.breaker.state)

asyncio.run(main())
"""


@pytest.mark.virtual
async def test_trap_09_two_policies_of_one_name_know_nothing_of_each_other() -> None:
    bad_node, good_node = make("stock", attempts=1), make("stock", attempts=1)
    for _ in range(20):
        await ended(bad_node, away)
        assert await ended(good_node, well) == "well"
    assert bad_node.breaker is not None
    assert good_node.breaker is not None
    assert bad_node.breaker.state is State.OPEN
    assert good_node.breaker.state is State.CLOSED


@pytest.mark.virtual
async def test_trap_09_what_opens_in_one_process_stays_closed_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # a place that both could write to
    before = make("stock", attempts=1)
    source = str(Path(switchgear.__file__).parents[1])
    surroundings = {**os.environ, "PYTHONPATH": source, "TMPDIR": str(tmp_path)}
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        env=surroundings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout == "open\n"
    after = make("stock", attempts=1)
    for policy in (before, after):
        assert policy.breaker is not None
        assert policy.breaker.state is State.CLOSED
        assert await ended(policy, well) == "well"


@pytest.mark.virtual
async def test_trap_09_a_gateway_that_reaches_a_process_goes_on_when_another_does_not() -> None:
    serving: dict[str, Any] = {"service-1": answer, "service-2": answer}
    cut = failing(Fault(Code.UNAVAILABLE, "no route to it"))
    good, bad = House([public()], serving), House([public()], {**serving, "service-1": cut})
    for _ in range(600):
        assert (await bad.ask("GET", "/a")).status == 200
        assert (await good.ask("GET", "/a")).status == 200
        await advance(0.1)
    told = [one.upstream.statistics()["routes"]["GET /a"]["endpoints"] for one in (bad, good)]
    assert told[0]["service-1"]["state"] in ("open", "half_open")
    assert told[1]["service-1"]["state"] == "closed"
    assert "service-1" in good.names()[-20:]


def test_trap_09_what_processes_tell_each_other_has_no_room_for_a_breaker() -> None:
    # The topology tells of life and death alone, which the supervisor knows first hand.
    assert {field.name for field in msgspec.structs.fields(Endpoint)} == {
        "role", "index", "address", "state", "generation", "degraded"
    }  # fmt: skip
    assert all("breaker" not in field.name for field in msgspec.structs.fields(Topology))
