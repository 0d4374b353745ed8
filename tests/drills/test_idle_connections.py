"""Ten thousand idle connections cost one process little memory, and nobody else anything."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from switchgear.assembly.kernel import allow_descriptors
from tests.drills.planes import load, memory, plane

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

IDLE = 10_000
ADDRESSES = 20
AT_ONCE = 100
SECONDS = 5.0
MOST = 400 << 20
# A connection's own: what more it takes is a leak, or a buffer that ought to be shared.
MOST_EACH = 16 << 10

HTTP = {"connections": 12_000, "connections_per_address": 1000, "idle_timeout": 600.0}
ASK = b"GET /once HTTP/1.1\r\nHost: a\r\nUser-Agent: drill\r\nAccept: */*\r\n\r\n"


def idle(port: int, held: ExitStack) -> Iterator[socket.socket]:
    """Open connections that ask once each, read the answer, and then say no more."""
    for start in range(0, IDLE, AT_ONCE):
        batch = []
        for number in range(start, start + AT_ONCE):
            sock = held.enter_context(socket.socket())
            sock.settimeout(10)
            sock.bind((f"127.0.1.{1 + number % ADDRESSES}", 0))
            sock.connect(("127.0.0.1", port))
            sock.sendall(ASK)
            batch.append(sock)
        for sock in batch:
            answer = sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
        yield from batch


@pytest.mark.parametrize(
    ("kind", "options"),
    [("server", ()), ("server", ("--drive", "PARKED")), ("gateway", ())],
    ids=["server", "service", "gateway"],
)
async def test_ten_thousand_idle_connections(
    kind: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    limit = allow_descriptors()
    if limit < IDLE + 2000:
        pytest.skip(f"{limit} open descriptors are too few: ulimit -Hn")
    async with plane(kind, HTTP, *options) as target, plane(kind, HTTP, *options) as empty:
        await load(target.port, 1.0)
        before = memory(target.pid)
        with ExitStack() as held:
            open_ = list(idle(target.port, held))
            after = memory(target.pid)
            assert (await target.figures())["open"] >= len(open_) == IDLE
            # At the same time, so that whatever else the machine does hits both.
            under, control = await asyncio.gather(
                load(target.port, SECONDS), load(empty.port, SECONDS)
            )
            later = memory(target.pid)
            for sock in open_[:: IDLE // 100]:  # they are alive, and answered as ever
                sock.sendall(ASK)
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            figures = await target.figures()
    each = (after["Rss"] - before["Rss"]) / IDLE
    with capsys.disabled():
        print(f"\n{kind} {options}: {before['Rss'] >> 20} MiB, with {IDLE} idle connections "
              f"{after['Rss'] >> 20} MiB (proportional {after['Pss'] >> 20}), "
              f"{each:.0f} B each; under load {later['Rss'] >> 20} MiB")  # fmt: skip
        print(f"  control: {control.text()}\n  with them: {under.text()}")
    assert control.goodput >= 0.3, f"INVALID: {control.text()}"
    assert figures["refusals"] == {}
    assert figures["made_room"] == 0
    assert max(after["Rss"], later["Rss"]) < MOST
    assert each < MOST_EACH
    assert under.goodput >= 0.95 * control.goodput
