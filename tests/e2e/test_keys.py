"""Idempotency keys through a whole system, whose processes are killed at the worst instants."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Answer, Running

APP = """
import asyncio
import os
import signal
from pathlib import Path

from msgspec import Struct
from switchgear import App, Code, Fault, Principal, Transaction

app = App("orders")
HERE = Path(os.environ["HOME_OF_MARKS"])


class Order(Struct):
    name: str
    how: str = ""


class Made(Struct):
    id: int
    name: str
    pid: int


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@app.post("/orders")
async def order(new: Order, who: Principal, tx: Transaction) -> Made:
    mark = HERE / new.name
    first = not mark.exists()
    with mark.open("a") as runs:
        runs.write("x")
    number = await tx.fetch_one(
        int, "insert into orders (name) values ($1) returning id", new.name
    )
    if first and new.how == "before":
        die()
    if first and new.how == "after":
        tx.announce = die  # which is called when it has committed, and nobody was answered
    if new.how == "slowly":
        await asyncio.sleep(1.2)
    if new.how == "refused":
        raise Fault(Code.FAILED_PRECONDITION, public="It is sold out.")
    if new.how == "broken":
        raise ZeroDivisionError
    return Made(number, new.name, os.getpid())


@app.get("/orders", public=True)
async def orders(tx: Transaction) -> list[str]:
    return await tx.fetch_all(str, "select name from orders order by name")
"""
TABLE = "create table orders (id bigint generated always as identity primary key, name text);"


class Shop:
    """The system, and two who order."""

    def __init__(self, running: Running, marks: Path) -> None:
        self.running = running
        self.marks = marks
        self.kills = 0
        self.ada, self.bob = running.token("ada@example.org"), running.token("bob@example.org")

    def order(self, name: str, key: str | None, how: str = "", token: str = "") -> Answer:
        headers = {"authorization": f"Bearer {token or self.ada}"}
        if key is not None:
            headers["idempotency-key"] = key
        self.kills += how in ("after", "before") and not (self.marks / name).exists()
        return self.running.ask("POST", "/orders", {"name": name, "how": how}, headers)

    def is_whole(self) -> bool:
        """Say whether whoever was killed was seen to be, and is up again."""
        rows = self.running.ask_admin("/status").json["rows"]
        seen = len(self.running.events("process ended")) == self.kills
        return seen and all(row["state"] == "ready" for row in rows)

    def ordered(self, name: str) -> int:
        return int(self.running.ask("GET", "/orders").json.count(name))

    def runs(self, name: str) -> int:
        return len((self.marks / name).read_text())


@pytest.fixture(scope="module")
def shop(home: Path) -> Iterator[Shop]:
    folder, marks = home / "shop", home / "marks"
    (folder / "migrations").mkdir(parents=True)
    marks.mkdir()
    marks.chmod(0o777)  # the roles drop to another account
    source = APP.replace('os.environ["HOME_OF_MARKS"]', repr(str(marks)))
    (folder / "app.py").write_text(source)
    (folder / "migrations/0001_orders.sql").write_text(TABLE)
    with Running.started("up", str(folder), home / "data") as running:
        yield Shop(running, marks)


@pytest.fixture(autouse=True)
def whole(shop: Shop) -> None:
    shop.running.until(shop.is_whole)


# What the gateway adds to each answer, and the date: of this exchange, not of what was done.
OWN = ("x-request-id", "server-timing", "date", "idempotency-replayed")


def told(answer: Answer) -> tuple[Any, ...]:
    """What an answer says, but for what is of one exchange alone."""
    kept = {name: value for name, value in answer.headers.items() if name not in OWN}
    return answer.status, kept, answer.body


def replayed(answer: Answer) -> bool:
    return answer.headers.get("idempotency-replayed") == "true"


def test_one_that_dies_between_its_effect_and_its_answer_is_answered_all_the_same(
    shop: Shop,
) -> None:
    answer = shop.order("after", "k-after", "after")
    assert (answer.status, replayed(answer)) == (201, True), answer.body
    assert (shop.ordered("after"), shop.runs("after")) == (1, 1)
    assert told(shop.order("after", "k-after", "after")) == told(answer)


def test_one_that_dies_before_its_effect_is_done_elsewhere(shop: Shop) -> None:
    answer = shop.order("before", "k-before", "before")
    assert answer.status == 201, answer.body
    assert (shop.ordered("before"), shop.runs("before")) == (1, 2)
    again = shop.order("before", "k-before", "before")
    assert (told(again), replayed(again)) == (told(answer), True)


def test_without_a_key_nobody_knows(shop: Shop) -> None:
    lost = shop.order("lost", None, "after")
    assert (lost.status in (502, 503), lost.json["effect"]) == (True, "unknown")
    assert "retry-after" not in lost.headers
    assert (shop.ordered("lost"), shop.runs("lost")) == (1, 1)


def test_two_who_use_the_same_key_each_have_their_own(shop: Shop) -> None:
    mine, theirs = shop.order("mine", "same"), shop.order("theirs", "same", token=shop.bob)
    assert (mine.status, theirs.status, replayed(theirs)) == (201, 201, False)
    assert mine.json["name"] == "mine"
    assert shop.order("theirs", "same").status == 422
    assert told(shop.order("theirs", "same", token=shop.bob)) == told(theirs)


def test_a_refusal_is_repeated_byte_for_byte(shop: Shop) -> None:
    first = shop.order("sold", "k-sold", "refused")
    assert (first.status, first.json["detail"]) == (409, "It is sold out.")
    again = shop.order("sold", "k-sold", "refused")
    assert (told(again), replayed(again)) == (told(first), True)
    assert (shop.ordered("sold"), shop.runs("sold")) == (0, 1)


def test_a_client_that_repeats_what_was_a_defect_opens_no_breaker(shop: Shop) -> None:
    first = shop.order("defect", "k-defect", "broken")
    assert first.status == 500
    for _ in range(15):
        again = shop.order("defect", "k-defect", "broken")
        assert (told(again), replayed(again)) == (told(first), True)
    assert shop.order("unharmed", None).status == 201
    assert (shop.ordered("defect"), shop.runs("defect")) == (0, 1)


def test_of_two_that_come_together_one_is_told_to_wait(shop: Shop) -> None:
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(shop.order, "both", "k-both", "slowly") for _ in range(2)]
        first, second = sorted((one.result() for one in asked), key=lambda one: one.status)
    assert (first.status, replayed(first), second.status) == (201, False, 409)
    assert second.headers["retry-after"] == "1"
    assert told(shop.order("both", "k-both", "slowly")) == told(first)
    assert (shop.ordered("both"), shop.runs("both")) == (1, 1)


def test_what_became_of_keys_is_counted(shop: Shop) -> None:
    def counted() -> dict[str, int]:
        """Sum up what the services say, by outcome."""
        text = shop.running.ask_admin("/metrics").body.decode()
        found: dict[str, int] = {}
        for line in text.splitlines():
            if line.startswith("idempotency_requests_total{"):
                outcome = line.partition('outcome="')[2].partition('"')[0]
                found[outcome] = found.get(outcome, 0) + int(float(line.rpartition(" ")[2]))
        return found

    before = counted()
    assert before.keys() == {"recorded", "replayed", "busy", "mismatch", "not_kept"}
    for name in ("counted", "counted", "another"):
        shop.order(name, "k-counted")
    rise = {"recorded": 1, "replayed": 1, "mismatch": 1}
    after = {outcome: count + rise.get(outcome, 0) for outcome, count in before.items()}
    shop.running.until(lambda: counted() == after)


def test_the_description_says_what_a_key_is_for(shop: Shop) -> None:
    paths = shop.running.ask("GET", "/openapi.json").json["paths"]["/orders"]
    (parameter,) = paths["post"]["parameters"]
    assert (parameter["name"], parameter["in"]) == ("Idempotency-Key", "header")
    assert {"409", "422"} <= set(paths["post"]["responses"])
    assert "parameters" not in paths["get"]
    assert parameter["schema"] == {"type": "string", "minLength": 1, "maxLength": 255}
