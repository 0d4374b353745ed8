"""Whether a request costs our gateway the same when there is more of everything.

`./dev bench scale [--rounds 3] [--seconds 3] [--only NAME,...] [--quick] [--json FILE]`: about four
minutes. CPU microseconds per request, everything on, at 10, 1,000 and 10,000 idle connections
beside the 64 that ask; at 1, 100 and 1,000 endpoints of one upstream; at 10 and 10,000 routes. The
aim is that the most costs at most 1.5 times what the fewest cost. `--only` takes these words.
"""

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from bench._harness.load import Asked
from bench._harness.options import load_of, options, save
from bench._harness.pinning import cpus
from bench._harness.rounds import Check, Load, Measured, check_nothing, measure, shown
from bench._harness.servers import Contender, Missing, Running, running
from bench._harness.table import print_ground, print_measured
from bench.proxy.gateway import Identity, gateway, identity
from bench.proxy.upstream import upstream
from bench.scale.idle import held_open

_AIM: Final = 1.5
_ROOM: Final = """
[http]
connections = 20000
connections_per_address = 20000
idle_timeout = 900.0
"""
_SMALL: Final = Asked("GET", "/small")


def addresses(count: int) -> list[str]:
    """Return so many loopback addresses."""
    return [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(count)]


def by_connections(who: Identity, load: Load) -> Measured:
    """Measure beside idle connections, each of which has asked once."""
    idle = {f"{count:,} idle connections": count for count in (10, 1_000, 10_000)}
    with ExitStack() as held:

        def hold(one: Contender, place: Running) -> None:
            held.enter_context(held_open(place.port, idle[one.name], "/small", one.headers))

        return _measured({name: {} for name in idle}, who, load, hold)


def by_endpoints(who: Identity, load: Load) -> Measured:
    """Measure before one upstream that listens on many addresses."""
    counts = {f"{count:,} endpoints": count for count in (1, 100, 1_000)}
    return _measured({name: {"endpoints": count} for name, count in counts.items()}, who, load)


def by_routes(who: Identity, load: Load) -> Measured:
    """Measure with many routes, all of which are asked in turn."""
    counts = {f"{count:,} routes": count for count in (10, 10_000)}
    return _measured({name: {"routes": count} for name, count in counts.items()}, who, load)


def _measured(
    wanted: Mapping[str, Mapping[str, int]], who: Identity, load: Load, check: Check = check_nothing
) -> Measured:
    most = max(one.get("endpoints", 1) for one in wanted.values())
    behind = upstream(who.keys, addresses(most))
    if isinstance(behind, Missing):
        sys.exit(f"there is nothing to proxy to: {behind.reason}")
    with running(behind, cpus()[1]) as place:
        made = [_gateway(name, who, place.port, **each) for name, each in wanted.items()]
        return measure(made, _SMALL, load, check=check)


def _gateway(
    name: str, who: Identity, port: int, *, endpoints: int = 1, routes: int = 0
) -> Contender:
    asked = Asked("GET", "/things<n>/7/parts", among=routes) if routes else None
    return gateway(
        name, who, port, addresses=addresses(endpoints), routes=routes, more=_ROOM, asked=asked
    )


PARTS = {"connections": by_connections, "endpoints": by_endpoints, "routes": by_routes}


def told(title: str, measured: Measured) -> str:
    """Say how much more the most costs than the fewest."""
    costs = [one.cpu for one in measured.figures.values() if not one.invalid]
    if len(costs) < 2:
        return f"{title}: not enough figures"
    ratio = costs[-1] / costs[0]
    return f"{title}: {ratio:.2f} times the fewest's ({'within' if ratio <= _AIM else 'over'} 1.5)"


def main() -> None:
    parser = options("scale", seconds=3)
    settings: argparse.Namespace = parser.parse_args()
    print_ground()
    who = identity()
    words = [word.strip() for word in settings.only.split(",") if word.strip()]
    results: dict[str, object] = {}
    summary = []
    for title, part in PARTS.items():
        if words and not any(word in title for word in words):
            continue
        measured = part(who, load_of(settings))
        print_measured(f"our gateway, everything on, by {title}", measured)
        summary.append(told(title, measured))
        results[title] = shown(measured)
    print("\n" + "\n".join(summary))
    save(settings, results)


if __name__ == "__main__":
    main()
