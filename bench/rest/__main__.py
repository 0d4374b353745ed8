"""What a REST endpoint costs, beside the frameworks that people write it in.

`./dev bench rest [--rounds 3] [--seconds 4] [--only NAME,...] [--quick] [--json FILE]`: about seven
minutes. GET /users/{id}, and POST /users with a body that is validated. Each server has one CPU,
the load the other; CPU microseconds per request are those of its whole process tree. What the event
loop costs that ours runs on is measured before.
"""

import json

from bench._harness.load import Asked
from bench._harness.options import load_of, only, options, save
from bench._harness.rounds import measure, shown
from bench._harness.table import Aim, print_aims, print_ground, print_measured
from bench.rest.checks import GOOD, Statuses
from bench.rest.contenders import contenders, floor

AIMS = (
    Aim("ours, a service", "Fastify, zod's provider", 1 / 2),
    Aim("ours, a service", "Fastify, zod by hand", 1 / 2),
    Aim("ours, a service", "Fastify, ajv", 1 / 2),
    Aim("ours, a service", "FastAPI, uvicorn", 1 / 10),
    Aim("ours, a service", "FastAPI, Granian", 1 / 10),
)


def main() -> None:
    settings = options("rest").parse_args()
    print_ground()
    wanted = only(settings, contenders())
    asks = {
        "GET /users/{id}": Asked("GET", "/users/7"),
        "POST /users, validated": Asked("POST", "/users", json.dumps(GOOD).encode()),
    }
    results: dict[str, object] = {}
    statuses = Statuses()
    for title, asked in asks.items():
        print_measured(f"{title}, by the loop itself", measure([floor()], asked, load_of(settings)))
        measured = measure(wanted, asked, load_of(settings), check=statuses.check)
        print_measured(title, measured)
        print_aims(measured, AIMS)
        results[title] = shown(measured)
    statuses.print()
    save(settings, results)


if __name__ == "__main__":
    main()
