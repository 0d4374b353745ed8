"""A FastAPI application of somebody else, unchanged, behind `switchgear up main:app`."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.e2e.running import Answer, Running

APP = """\
import asyncio

from fastapi import FastAPI, WebSocket
from pydantic import BaseModel

app = FastAPI(title="Shop")


class Item(BaseModel):
    name: str
    price: float


@app.post("/items", status_code=201)
async def create(item: Item) -> Item:
    return item


@app.post("/slow")
async def slow() -> None:
    await asyncio.sleep(60)


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
"""


@pytest.fixture(scope="module")
def system(home: Path) -> Iterator[Running]:
    folder = home / "shop"
    folder.mkdir()
    (folder / "main.py").write_text(APP)
    flags = ("--gateways=1", "--services=2")
    with Running.started("up", "main:app", home / "data", *flags, cwd=folder) as running:
        yield running


def test_it_answers_validates_and_describes_itself(system: Running) -> None:
    item = {"name": "lamp", "price": 2.5}
    answer = system.ask("POST", "/items", item)
    assert (answer.status, answer.json) == (201, item)
    wrong = system.ask("POST", "/items", {"name": "lamp", "price": "much"})
    assert wrong.status == 422
    assert wrong.json["detail"][0]["loc"] == ["body", "price"], "its own words, not ours"
    assert system.ask("GET", "/nowhere").json == {"detail": "Not Found"}
    assert system.ask("GET", "/openapi.json").json["info"]["title"] == "Shop"
    docs = system.ask("GET", "/docs")
    assert docs.status == 200
    assert b"Shop - Swagger UI" in docs.body
    assert "script-src" not in docs.headers["content-security-policy"], "its page may load"


def test_the_gateway_protects_it(system: Running) -> None:
    answer = system.ask("POST", "/items", {"name": "a", "price": 1})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert len(answer.headers["x-request-id"]) >= 8
    large = system.ask("POST", "/items", b"x" * (2 << 20))
    assert large.status == 413
    assert system.ask("GET", "/health/ready").json == {"status": "ready", "degraded": []}


def test_what_takes_too_long_is_answered_by_the_deadline(system: Running) -> None:
    began = time.monotonic()
    answer = system.ask("POST", "/slow")
    assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
    assert 2.5 < time.monotonic() - began < 3.25
    hurried = time.monotonic()
    short = {"grpc-timeout": "300m"}
    assert system.ask("POST", "/slow", headers=short).status == 504
    assert time.monotonic() - hurried < 1.0


def test_how_long_it_may_take_is_a_setting_that_the_log_names(home: Path) -> None:
    folder = home / "patient"
    folder.mkdir()
    (folder / "main.py").write_text(APP)
    flags = ("--gateways=1", "--services=1", "--set=http.deadline=0.4")
    with Running.started("up", "main:app", folder / "data", *flags, cwd=folder) as running:
        assert running.ask("POST", "/slow").status == 504
        (line,) = running.until(lambda: running.events("request", status=504))
        assert line["detail"].endswith("; the route's deadline is http.deadline: 0.4 s")


def test_a_gateway_that_lags_sheds_and_says_so(system: Running) -> None:
    """The gateway is stopped again and again: to itself that is an event loop that runs late."""
    rows = system.ask_admin("/status").json["rows"]
    gateway = next(row["pid"] for row in rows if row["label"] == "gateway-1")

    def asked_late() -> Answer | None:
        os.kill(gateway, signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(gateway, signal.SIGCONT)
        time.sleep(0.1)  # till it has seen that it was late
        answer = system.ask("GET", "/openapi.json")
        return answer if answer.status != 200 else None

    shed = system.until(asked_late)
    assert (shed.status, shed.json["code"]) == (503, "unavailable")
    assert shed.headers["retry-after"] == "1"
    assert system.ask("GET", "/health/live", port=system.admin).status == 200
    # By and by: while it sheds a share, one answer is no sign.
    calm = range(30)
    system.until(lambda: {system.ask("GET", "/openapi.json").status for _ in calm} == {200}, 10)
    lines = [line for line in system.events("request", status=503) if "sheds" in line["detail"]]
    assert lines
    assert {line["fault"] for line in lines} == {"unavailable"}


def test_each_request_is_a_line_in_the_log(system: Running) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    given = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    assert system.ask("POST", "/items", {"name": "a", "price": 1}, given).status == 201
    (line,) = system.until(lambda: system.events("request", trace=trace))
    wanted = {"method": "POST", "path": "/items", "status": 201, "attempts": 1, "level": "info"}
    assert wanted.items() <= line.items()
    assert line["endpoint"] in ("service-1", "service-2")
    assert line["process"] == "gateway-1"
    assert line["own_ms"] > 0
    assert line["upstream_ms"] > 0


def test_its_requests_are_counted(system: Running) -> None:
    def counted() -> dict[str, float]:
        text = system.ask_admin("/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith("http_requests_total")]
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}

    before = sum(counted().values())
    for _ in range(3):
        assert system.ask("POST", "/items", {"name": "a", "price": 1}).status == 201
    after = system.until(lambda: (now := counted()) and sum(now.values()) >= before + 6 and now)
    assert any('process="gateway-1"' in name and 'status="201"' in name for name in after)
    assert any('process="service-' in name for name in after)


def test_a_websocket_passes_through(system: Running) -> None:
    with connect(f"ws://127.0.0.1:{system.port}/echo", open_timeout=10) as socket:
        socket.send("still lit")
        assert socket.recv(10) == "still lit"
