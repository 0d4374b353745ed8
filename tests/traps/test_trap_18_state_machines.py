"""Trap 18: state machines are held against a naive model, and a transition happens in one place.

A breaker whose state is assigned in five places forgets in one of them to begin a new generation,
or to tell; and nobody finds out by examples.
"""

import ast
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear import BreakerSettings, Policy
from switchgear.core.clock import FINE
from switchgear.policy.breaker import Breaker, State, Transition
from switchgear.policy.fallback import Kept, LastGood
from switchgear.policy.gate import ANYONE, Permit
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL
from tests.traps.world import SEED
from tools.mutate import ALSO, FOLDER

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/switchgear"
PURE = sorted(path for path in (SOURCE / "policy").glob("*.py") if path.stem != "__init__")
PARTS_OF_OTHERS = {
    "probes": "breaker",  # the model of a breaker leases, loses and counts its probes
    "ramp": "breaker",  # and admits by the same share
    "call": "",  # a trail is written to, and decides nothing
    "checkpoint": "tests/entrances/test_log.py",  # every wait can be the last
    "balancers": "balance",
    "fallback": "tests/traps/test_trap_18_state_machines.py",
}


def methods(node: ast.ClassDef) -> set[str]:
    return {one.name for one in node.body if isinstance(one, ast.FunctionDef)}


def classes(path: Path) -> Iterator[ast.ClassDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef) and not any(
            "Protocol" in ast.unparse(base) for base in node.bases
        ):
            yield node


def stateful(node: ast.ClassDef) -> bool:
    """Say whether a method other than the first writes to what the object remembers."""
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name != "__init__":
            for inner in ast.walk(method):
                targets: list[ast.expr] = []
                if isinstance(inner, ast.Assign):
                    targets = inner.targets
                elif isinstance(inner, ast.AugAssign | ast.AnnAssign):
                    targets = [inner.target]
                if any(ast.unparse(one).startswith("self.") for one in targets):
                    return True
    return False


GATES = [
    path.stem for path in PURE if any({"admit", "settle"} <= methods(one) for one in classes(path))
]
MACHINES = [path.stem for path in PURE if any(stateful(one) for one in classes(path))]


def test_trap_18_there_are_machines_to_look_at() -> None:
    assert {"breaker", "bulkhead", "adaptive", "shedder", "bucket", "hurry"} <= set(GATES)
    assert {"budget", "window", "quantile", "ejection"} <= set(MACHINES)


@pytest.mark.parametrize("module", GATES)
def test_trap_18_every_gate_is_driven_beside_a_naive_model(module: str) -> None:
    text = (ROOT / f"tests/property/test_{module}_model.py").read_text()
    assert "RuleBasedStateMachine" in text
    assert f"switchgear.policy.{module} " in text


@pytest.mark.parametrize("module", MACHINES)
def test_trap_18_everything_that_remembers_is_in_a_property_test(module: str) -> None:
    if module in PARTS_OF_OTHERS:
        whole = PARTS_OF_OTHERS[module]
        if whole.endswith(".py"):
            assert f"switchgear.policy.{module} " in (ROOT / whole).read_text()
        elif whole:
            source = (SOURCE / f"policy/{whole}.py").read_text()
            model = (ROOT / f"tests/property/test_{whole}_model.py").read_text()
            assert f"switchgear.policy.{module} " in source + model
        return
    found = [
        path
        for path in (ROOT / "tests/property").glob("test_*.py")
        if f"switchgear.policy.{module} " in path.read_text()
    ]
    assert any("hypothesis" in path.read_text() for path in found), module


def test_trap_18_every_module_of_the_pure_floor_is_mutated() -> None:
    assert ROOT / FOLDER == SOURCE / "policy"
    for path in PURE:
        tests = [*ROOT.glob(f"tests/unit/policy/test_{path.stem}.py"),
                 *ROOT.glob(f"tests/property/test_{path.stem}*.py"),
                 *map(ROOT.joinpath, ALSO.get(path.stem, ()))]  # fmt: skip
        assert tests, f"{path.stem}: nobody would notice a mutant"
        assert all(test.is_file() for test in tests), path.stem


Steps = st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.floats(0, 3)), max_size=40)


@given(Steps, st.integers(1, 4))
def test_trap_18_the_last_good_values_against_a_naive_model(
    steps: list[tuple[bool, int, float]], most: int
) -> None:
    machine, now = LastGood(age=5.0, most=most), 0.0
    model: list[tuple[int, int, float]] = []  # key, value, instant: the least recently used first
    for number, (keep, key, passed) in enumerate(steps):
        now += passed
        known = [one for one in model if one[0] == key]
        if keep:
            machine.keep(key, number, now)
            model = [*(one for one in model if one[0] != key), (key, number, now)][-most:]
        elif known and now - known[0][2] <= 5.0:
            model = [*(one for one in model if one[0] != key), *known]
            assert machine.find(key, now) == Kept(known[0][1], now - known[0][2])
        else:
            model = [one for one in model if one[0] != key]
            assert machine.find(key, now) is None
        assert machine.statistics()["keys"] == len(model)


def writers(path: Path, *names: str) -> set[str]:
    """Return the functions that assign to an attribute of these names."""
    found = set()
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and node.attr in names
            ):
                found.add(function.name)
    return found


def test_trap_18_a_transition_happens_in_one_place() -> None:
    breaker = SOURCE / "policy/breaker.py"
    assert writers(breaker, "state") == {"__init__", "_move"}
    # A process that was forked off begins another one: what is out comes home to its parent.
    assert writers(breaker, "generation") == {"__init__", "_move", "vacate"}
    for room in ("policy", "core", "gateway"):
        for path in (SOURCE / room).rglob("*.py"):
            if path != breaker:
                assert not writers(path, "generation"), path


class Walk:
    """A breaker that is used at random, and what was seen of it from outside."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.told: list[Transition] = []
        self.breaker = Breaker(
            "mail", BreakerSettings(), jitter=self.random.random, on_transition=self.told.append
        )
        self.seen = [State.CLOSED]
        self.now = 0.0
        self.out: list[Permit] = []

    def step(self) -> None:
        breaker, random = self.breaker, self.random
        choice: Any = random.choice(["admit"] * 4 + ["settle"] * 5 + ["wait", "operator"])
        before = breaker.generation, breaker.state
        if choice == "admit":
            got = breaker.admit(ANYONE, self.now)
            if isinstance(got, Permit):
                self.out.append(got)
        elif choice == "settle" and self.out:
            permit = self.out.pop(random.randrange(len(self.out)))
            breaker.settle(permit, random.choice([GOOD, BAD, BAD, BAD, NEUTRAL]), self.now)
        elif choice == "wait":
            self.now += random.choice([0.1, 1.0, 7.0, 30.0])
        elif choice == "operator" and random.random() < 0.1:
            operated = random.choice(["force_open", "force_closed", "reset", "reset", "reset"])
            getattr(breaker, operated)(self.now)
        if breaker.state is not before[1]:
            assert breaker.generation == before[0] + 1
            self.seen.append(breaker.state)


@pytest.mark.parametrize("seed", range(SEED, SEED + 20))
def test_trap_18_every_live_transition_is_told_in_its_order(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(3000):
        walk.step()
    assert len(walk.seen) > 10
    assert [State.CLOSED, *(one.new for one in walk.told)] == walk.seen
    for earlier, later in pairwise(walk.told):
        assert earlier.new is later.old
        assert earlier.at <= later.at
        assert later.why


def test_trap_18_latency_is_measured_by_a_fine_clock() -> None:
    assert FINE is time.perf_counter
    assert Policy("mail")._clock is FINE
    for room in ("policy", "core"):
        for path in (SOURCE / room).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    coarse = node.func.attr in ("time", "monotonic")
                    assert not coarse, f"{path.name}:{node.lineno} dates by {ast.unparse(node)}"
