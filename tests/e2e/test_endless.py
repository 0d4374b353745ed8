"""An answer that has no end, as event streams have none, while the system is told to end."""

import signal
import socket
from pathlib import Path

from tests.e2e.running import Running

APP = """\
import asyncio


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"more", "more_body": True})
        await asyncio.sleep(0.05)
"""


def test_what_does_not_end_is_cut_and_told_and_nobody_has_to_be_killed(home: Path) -> None:
    """Its gateway was killed in the moment in which it was to cut it, and no line told of that."""
    folder = home / "endless"
    folder.mkdir()
    (folder / "main.py").write_text(APP)
    flags = ("--gateways=1", "--services=1", "--set=supervisor.drain=2")
    with (
        Running.started("up", "main:app", home / "data", *flags, cwd=folder) as system,
        socket.create_connection(("127.0.0.1", system.port), timeout=15) as client,
    ):
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert client.recv(9) == b"HTTP/1.1 "
        system.process.send_signal(signal.SIGINT)
        assert system.process.wait(30) == 1
        (ended,) = system.events("process ended", label="gateway-1")
        assert ended["how"] == "exit code 1"
        assert system.events("requests were cut: the drain took too long", process="gateway-1")
        (line,) = system.events("request", path="/endless")
        assert (line["status"], line["cut"], line.get("left", False)) == (200, True, False)
