"""Call a flaky server through a policy. `python app.py` starts both, and ends by itself.

The server resets one connection in nine, hangs at one request in eleven, and is down for a while.
Nothing is needed but Python and `pip install switchgear`.
"""

import asyncio
import logging
from asyncio import StreamReader, StreamWriter
from collections import Counter
from time import perf_counter

from switchgear import BackoffSettings, BreakerSettings, Code, Fault, LogObserver, Policy

BEGAN = perf_counter()
asked: Counter[str] = Counter()

store = Policy(
    "store",
    deadline="1s",
    timeout="200ms",
    repeatable=True,  # to ask for a price twice does no more than once
    retry=BackoffSettings(longest_retry_after=0.1),  # rather an old price at once
    breaker=BreakerSettings(consecutive=3, open_for=0.3, open_most=0.6, probes=2, ramp=0.5),
    fallback=lambda error, *_: f"an old price, for {type(error).__name__}",
    observe=LogObserver(),
)


async def serve(reader: StreamReader, writer: StreamWriter) -> None:
    """Answer one request, well or badly."""
    item = (await reader.readline()).decode().strip()
    asked["requests"] += 1
    if asked["requests"] % 9 == 0 or 0.6 < perf_counter() - BEGAN < 1.2:
        writer.transport.abort()
        return
    if asked["requests"] % 11 == 0:
        await asyncio.sleep(0.3)
    writer.write(b"no such item\n" if item == "unicorn" else f"{item}: 4.50\n".encode())
    writer.close()


@store
async def price(port: int, item: str) -> str:
    """Ask for a price. That there is none is an answer, too: the code says so to the policy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{item}\n".encode())
        line = (await reader.readline()).decode().strip()
    finally:
        writer.close()
    if line == "no such item":
        raise Fault(Code.NOT_FOUND, f"no {item} in the store")
    if not line:
        raise ConnectionResetError("the answer was cut short")
    return line


async def main() -> None:
    """Ask for a hundred prices, and say what came of it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    told: Counter[str] = Counter()
    for number in range(100):
        try:
            found = await price(port, "unicorn" if number % 10 == 0 else "lamp")
            told["old" if found.startswith("an old price") else "fresh"] += 1
        except Fault as fault:
            told[fault.code.value] += 1
        await asyncio.sleep(0.025)
    server.close()
    await asyncio.sleep(0.3)  # for a request that may still hang
    print(f"100 calls, {asked['requests']} requests: {dict(told)}")  # noqa: T201 - a program
    print("breaker:", store.statistics()["breaker"]["state"])  # noqa: T201 - a program


if __name__ == "__main__":
    asyncio.run(main())
