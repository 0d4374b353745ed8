"""What the measured gateway routes: a small and a large answer, and as many more as ROUTES says.

The upstream of the benchmark answers them all; nothing here is ever called.
"""

import os
from collections.abc import Awaitable, Callable

from switchgear import App

app = App("routed")


def named(name: str) -> Callable[[int], Awaitable[bytes]]:
    async def part(id: int) -> bytes:
        raise NotImplementedError("an upstream of the benchmark answers this")

    part.__name__ = part.__qualname__ = name
    return part


@app.get("/small")
async def small() -> bytes:
    raise NotImplementedError("an upstream of the benchmark answers this")


@app.get("/large")
async def large() -> bytes:
    raise NotImplementedError("an upstream of the benchmark answers this")


for number in range(int(os.environ.get("ROUTES", "0"))):
    app.get(f"/things{number}/{{id}}/parts")(named(f"part{number}"))
