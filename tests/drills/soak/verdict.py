"""What a soak's clients, tables, log and processes say together, and what of it is wrong."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from switchgear.drills.account import Entry, Kind, reconcile
from switchgear.drills.address import Address
from switchgear.drills.summary import percentile
from tests.drills.soak.actors import Actors, Deed
from tests.drills.soak.cluster import Cluster
from tests.drills.soak.monkey import Strike
from tests.drills.system import System, fetch

__all__ = ["Seen", "availability", "effects", "held", "lines", "recovery", "troubles"]

WAITING: Final = "select (select count(*) from switchgear.ready) + count(*) from switchgear.delayed"
EMPTIED: Final = 120.0
RECOVERED: Final = 8.0  # seconds after which a strike is over for everybody, on a busy machine
SPARED: Final = 0.99
# What the supervisor and the roles say of a strike that took place.
STRUCK: Final = frozenset(
    {"process ended", "process restarting", "process hung", "auxiliary down", "could not start"}
)
# What a defect says that was asked for.
ASKED: Final = ("trouble was asked for", "SystemExit: 4", "MemoryError", "Too many open files")


class Seen(msgspec.Struct, frozen=True):
    """What the tables hold at the end: `notes`, what was `seen` of them, and what is `dead`."""

    notes: list[str]
    seen: list[str]
    dead: list[str]

    @classmethod
    async def of(cls, system: System | Cluster) -> "Seen":
        """Look as the owner of the tables, once no message waits."""
        connection = await system.owner()
        try:
            async with asyncio.timeout(EMPTIED):
                while await connection.fetchval(WAITING):
                    await asyncio.sleep(0.2)
            return cls(
                [row["id"] for row in await connection.fetch("select id from note")],
                [row["id"] for row in await connection.fetch("select id from seen")],
                [row["cause"] for row in await connection.fetch("select * from switchgear.dead")],
            )
        finally:
            await connection.close()


def effects(fleet: Sequence[Actors], found: Seen) -> Iterator[str]:
    """Hold what was answered against what is there, and that against what was told of it."""
    observed = [Entry(Kind.OBSERVED, note) for note in found.notes]
    account = reconcile([*(entry for one in fleet for entry in one.entries), *observed])
    print(
        f"  {account.intended} notes were meant, {account.acknowledged} acknowledged,"
        f" {account.observed} are there; of {len(account.unknown_observed)} among them, and of"
        f" {len(account.unknown_absent)} others, nobody was told"
    )
    for name in ("lost", "duplicated", "unintended", "refused_but_observed"):
        if ids := getattr(account, name):
            yield f"{name}: {ids}"
    notes, seen = set(found.notes), Counter(found.seen)
    doomed = {note for one in fleet for note in one.doomed}
    mixed = {deed.kind for one in fleet for deed in one.deeds if deed.mixed}
    for name, ids in (
        ("rolled back, and there", doomed & (notes | set(seen))),
        ("never seen", notes - set(seen)),
        ("seen twice", {note for note, times in seen.items() if times > 1}),
        ("seen, and not there", set(seen) - notes),
        ("dead", set(found.dead)),
        ("answered by what is another's", mixed),
    ):
        if ids:
            yield f"{name}: {sorted(ids)}"


def _windows(strikes: Sequence[Strike], end: float) -> Iterator[tuple[Strike, float]]:
    """Yield each strike with the instant of the one that follows."""
    after = [*(one.struck for one in strikes[1:]), end]
    yield from zip(strikes, after, strict=True)


def recovery(
    strikes: Sequence[Strike], deeds: Iterable[Deed], end: float, within: float = RECOVERED
) -> Iterator[str]:
    """Find what still failed when a strike was long over, and print how long they took."""
    failed = [deed for deed in deeds if deed.wrong]
    took = []
    for strike, following in _windows(strikes, end):
        # What ends after the next strike may have failed by that one.
        since = [deed for deed in failed if strike.struck <= deed.began and deed.ended < following]
        last = max((deed.began - strike.healed for deed in since), default=0.0)
        took.append(max(0.0, last))
        ways = Counter(f"{deed.kind}: {deed.wrong}" for deed in since)
        print(f"  {strike.struck:.1f} {strike.name}: {took[-1]:.1f} s, {dict(ways)}")
        if last > within:
            late = [deed for deed in since if deed.began > strike.healed + within]
            yield f"{last:.1f} s after {strike.name!r} there still fails {late[:5]}"
    took.sort()
    ranks = [f"{percentile(took, share):.1f}" for share in (0.5, 0.9, 1.0)]
    print(f"  recovered within {' / '.join(ranks)} s (half, nine of ten, all of {len(took)})")


def availability(strikes: Sequence[Strike], deeds: Sequence[Deed], end: float) -> Iterator[str]:
    """Find of which kind more than one of a hundred failed, where none was struck."""
    asked: Counter[str] = Counter()
    failed: defaultdict[str, list[str]] = defaultdict(list)
    ill: dict[str, float] = {}  # by kind, until when an earlier strike may be felt
    for strike, following in _windows(strikes, end):
        for deed in deeds:
            within = max(strike.struck, ill.get(deed.kind, 0.0)) <= deed.began
            if deed.kind in strike.spared and within and deed.ended < following:
                asked[deed.kind] += 1
                if deed.wrong:
                    failed[deed.kind].append(f"{deed.wrong} after {strike.name}")
        touched = {deed.kind for deed in deeds} - strike.spared
        ill.update(dict.fromkeys(touched, strike.healed + RECOVERED))
    for kind, count in sorted(asked.items()):
        print(f"  {kind}: {count - len(failed[kind])} of {count} while others were struck")
        # One of few says nothing.
        if len(failed[kind]) > max(2.0, (1 - SPARED) * count):
            yield f"{kind} failed {len(failed[kind])} times of {count}: {Counter(failed[kind])}"


def troubles(status: dict[str, Any]) -> list[str]:
    """Return what a status says is not well."""
    said = [
        f"{row['label']} is {row['state']}" for row in status["rows"] if row["state"] != "ready"
    ]
    said += [f"{row['label']}: {why}" for row in status["rows"] for why in row["degraded"]]
    said += [f"{name} is down" for name, alive in status["auxiliaries"].items() if not alive]
    return said + [f"{name}: {words}" for name, words in status["troubles"].items()]


async def held(system: System) -> list[str]:
    """Return what gateways still hold, or do not give, though nobody asks for anything."""
    token = (system.data / "admin.token").read_text().strip()
    address, headers = Address("127.0.0.1", system.admin), {"authorization": f"Bearer {token}"}
    _, body = await fetch(address, "GET", "/upstreams", headers=headers)
    told = json.loads(body)
    wrong = [f"{name} does not answer: {why}" for name, why in told["errors"].items()]
    for gateway, services in told["answers"].items():
        gates = services.pop("gates")
        wrong += [f"{gateway}, {name}: {gate}" for name, gate in gates.items() if gate.get("out")]
        for service in services.values():
            for name, endpoint in service["endpoints"].items():
                whole = endpoint["free"] == endpoint["permits"] and endpoint["routable"]
                if endpoint["out"] or endpoint["waiting"] or not whole:
                    wrong.append(f"{gateway}, {name}: {endpoint}")
            for route, found in service["routes"].items():
                for breaker in (found["breaker"], *found["endpoints"].values()):
                    if breaker["out"] or (breaker["state"] != "closed" and "trouble" not in route):
                        wrong.append(f"{gateway}, {route}: {breaker}")
    return wrong


def lines(said: Iterable[dict[str, Any]], noise: Iterable[str] = ()) -> Iterator[str]:
    """Find errors in the log, and words on standard error, that no strike explains."""
    for line in said:
        if line.get("level") == "error" and line["event"] not in STRUCK:
            text = json.dumps(line)
            if not any(words in text for words in ASKED):
                yield text
    for words in noise:
        if "roles stay root" not in words:
            yield words
