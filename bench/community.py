"""The community as a whole: what the article measures, against the running system.

`./dev bench community [--seconds 10] [--connections 100] [--port 0] [--set path=value ...]`: half a
minute. `autocannon -c 100 -d 10 -m GET http://localhost:8080/users`, the same for POST with a
token; then what each role used. Load, gateways, services, workers and database share the machine.
"""

import argparse
import os
import sys
from collections.abc import Mapping

from bench._harness.cannon import UNIQUE, Fired, Shot, fire
from bench._harness.table import print_rows
from bench._harness.tree import Used
from bench._harness.whole import System, between, up
from bench._peers import modules

APP = "examples/community"
USERS = 100
PASSWORD = "correct horse battery"


def token_of(system: System) -> str:
    who = {"email": "bench@example.org", "password": PASSWORD}
    system.ask("POST", "/accounts", who)
    return str(system.ask("POST", "/tokens", who)["access_token"])


def measured(system: System, shot: Shot, settings: argparse.Namespace) -> Fired:
    before = system.used()
    fired = fire(
        shot,
        connections=settings.connections,
        seconds=settings.seconds,
        modules=modules("autocannon"),
    )
    print_fired(fired, between(before, system.used()))
    return fired


def print_fired(fired: Fired, roles: Mapping[str, tuple[int, Used]]) -> None:
    print(f"\n{fired.command}")
    print(
        f"  {fired.requests / fired.seconds:.0f} requests/s; {fired.requests} answers in "
        f"{fired.seconds:.1f} s, {fired.non_2xx} of them not 2xx, {fired.errors} errors"
    )
    ranks = {"p50": fired.p50, "p97.5": fired.p97, "p99": fired.p99, "max": fired.highest}
    told = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in ranks.items() if value)
    print(f"  latency: {told}")
    rows = [("role", "processes", "CPU %", "CPU us/request", "MiB")]
    for role, (count, used) in roles.items():
        rows.append(
            (
                role,
                str(count),
                f"{100 * used.cpu / fired.seconds:.0f}",
                f"{1e6 * used.cpu / max(1, fired.requests):.0f}",
                f"{used.resident_bytes / 2**20:.0f}",
            )
        )
    print_rows("used meanwhile", rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench community")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--port", type=int, default=0, help="0: one that is free")
    parser.add_argument("--set", action="append", default=[], help="a setting: path=value")
    settings = parser.parse_args()
    flags = [f"--set={pair}" for pair in settings.set]
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{os.cpu_count()} CPUs, shared with the load; load average before: {load}")
    with up(APP, *flags, port=settings.port) as system:
        url = f"http://localhost:{system.port}/users"
        headers = {"authorization": f"Bearer {token_of(system)}"}
        for number in range(USERS):
            new = {"name": f"n{number}", "email": f"u{number}@example.org"}
            system.ask("POST", "/users", new, headers)
        body = f'{{"name": "{UNIQUE}", "email": "{UNIQUE}@example.org"}}'
        headers["content-type"] = "application/json"
        shots = [Shot("GET", url), Shot("POST", url, headers, body)]
        failed = sum(measured(system, shot, settings).failed for shot in shots)
    if failed:
        sys.exit(f"{failed} requests failed, and none may")


if __name__ == "__main__":
    main()
