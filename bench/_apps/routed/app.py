"""What the measured gateway routes: a small and a large answer, and as many more as ROUTES says."""

import os

from switchgear import App

app = App("routed")


@app.get("/small")
async def small() -> bytes:
    raise NotImplementedError("an upstream of the benchmark answers this")


@app.get("/large")
async def large() -> bytes:
    raise NotImplementedError("an upstream of the benchmark answers this")


async def part(id: int) -> bytes:
    raise NotImplementedError("an upstream of the benchmark answers this")


for number in range(int(os.environ.get("ROUTES", "0"))):
    app.get(f"/things{number}/{{id}}/parts")(part)
