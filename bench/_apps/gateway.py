"""The command line of Switchgear, whose gateway tells what it has counted.

It is the gateway that `switchgear run gateway` runs, by the same plan and the same body; all that
is added is that its own counters can be read, from the socket COUNTS.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from switchgear.assembly import build
from switchgear.assembly.bodies import trust
from switchgear.assembly.bodies.gateway import gateway
from switchgear.assembly.roles import Plan, RoleContext
from switchgear.assembly.routes import SERVICE
from switchgear.assembly.settings import Settings
from switchgear.assembly.target import Target
from switchgear.cli.main import command
from switchgear.identity.tokens import Verifier

__all__ = ["counted", "plan"]


def plan(settings: Settings, target: Target) -> Plan:
    """Plan the system as ever, with a gateway that can be asked."""
    planned = build.plan(settings, target)
    roles = tuple(
        replace(spec, body="bench._apps.gateway:counted") if spec.name == "gateway" else spec
        for spec in planned.roles
    )
    return planned._replace(roles=roles)


async def counted(context: RoleContext) -> None:
    """Run the gateway, and tell its counters to whoever connects to the socket COUNTS."""
    verifiers: list[Verifier] = []

    def made(*given: Any) -> Verifier:
        verifiers.append(Verifier(*given))
        return verifiers[-1]

    vars(trust)["Verifier"] = made  # it is made inside, once

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not verifiers or "upstreams" not in context.answers:  # it is still starting
            await asyncio.sleep(0.05)
        writer.write(json.dumps(await _counts(context, verifiers[0])).encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(tell, os.environ["COUNTS"]):
        await gateway(context)


async def _counts(context: RoleContext, verifier: Verifier) -> Mapping[str, int]:
    upstreams: Mapping[str, Any] = await context.answers["upstreams"](None)
    known = verifier.statistics()
    gates = upstreams["gates"]
    return {
        "requests": context.requests(),
        "address limit": gates["address limit"]["admitted"],
        "principal limit": gates["principal limit"]["admitted"],
        "tokens": int(known["hits"]) + int(known["misses"]),
        "breakers": sum(
            int(route["breaker"]["admitted"]) for route in upstreams[SERVICE]["routes"].values()
        ),
        "metrics": _requests_in(context.registry.snapshot()),
    }


def _requests_in(snapshot: Any) -> int:
    return sum(
        int(series.value)
        for family in snapshot
        if family.name == "http_requests_total"
        for series in family.series
    )


if __name__ == "__main__":
    command("bench._apps.gateway:plan")()
