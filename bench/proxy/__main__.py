"""What a proxied request costs, beside the proxies of the trade.

`./dev bench proxy [--rounds 3] [--seconds 4] [--only NAME,...] [--quick] [--json FILE]`: about six
minutes. GETs of 200 bytes and of 1 MiB. Each proxy has one CPU; the load and the upstream have the
other. "Everything on": a token, limits, a breaker, one log line per request, for ours metrics, too;
a row whose log lines, limiter decisions and verified tokens are not as many as the requests is
INVALID.
"""

import sys

from bench._harness.load import Asked
from bench._harness.options import load_of, only, options, save
from bench._harness.pinning import cpus
from bench._harness.rounds import Check, measure, shown
from bench._harness.servers import Contender, Missing, Running, running
from bench._harness.table import Aim, print_aims, print_ground, print_measured, print_tail
from bench.proxy.contenders import contenders
from bench.proxy.gateway import identity
from bench.proxy.upstream import LARGE_BYTES, SMALL, upstream
from bench.rest.checks import asked as ask_once

SIZES = {"/small": len(SMALL), "/large": LARGE_BYTES}

OURS = "ours, everything on"
AIMS = {
    "/small": (
        Aim(OURS, "nginx", 1.7),
        Aim(OURS, "Envoy", 0.55),
        Aim(OURS, "Fastify, everything on", 1 / 6),
    ),
    "/large": (Aim(OURS, "nginx", 1.0), Aim(OURS, "nginx, unbuffered", 1.0)),
}


def checking(path: str, size: int) -> Check:
    """Return what sees that a proxy answers with the upstream's bytes, and asks for its token."""

    def check(one: Contender, place: Running) -> None:
        status, body = ask_once(place.port, "GET", path, b"", one.headers)
        if status != 200 or len(body) != size:
            raise RuntimeError(f"it answered {status} with {len(body)} bytes: {body[:200]!r}")
        if one.headers:
            status, _ = ask_once(place.port, "GET", path, b"", {})
            if status != 401:
                raise RuntimeError(f"without a token, it answered {status}")

    return check


def main() -> None:
    settings = options("proxy").parse_args()
    print_ground()
    who = identity()
    behind = upstream(who.keys)
    if isinstance(behind, Missing):
        sys.exit(f"there is nothing to proxy to: {behind.reason}")
    load = load_of(settings)
    results: dict[str, object] = {}
    with running(behind, cpus()[1]) as place:
        for path, size in SIZES.items():
            asked = Asked("GET", path)
            straight = measure([behind], asked, load._replace(rounds=1))
            print_measured(f"GET {size} bytes from the upstream itself", straight)
            wanted = only(settings, contenders(who, place.port, large=path == "/large"))
            measured = measure(wanted, asked, load, check=checking(path, size))
            print_measured(f"GET {size} bytes, proxied", measured)
            print_aims(measured, AIMS[path])
            print_tail(measured, OURS, 2.0)
            results[path] = {"upstream": shown(straight), "proxied": shown(measured)}
    save(settings, results)


if __name__ == "__main__":
    main()
