"""Guesses at passwords, through the whole platform, by somebody who has many addresses."""

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.asking import refused
from tests.e2e.running import PASSWORD, ROOT, Answer, Running

PROXY = '--set=gateway.trusted_proxies=["127.0.0.0/8"]'
LATER = "--set=accounts.guesses.first=60.0"  # not over by the time that a slow machine asks again


@pytest.fixture(scope="module")
def proxied(home: Path) -> Iterator[Running]:
    """The community behind a proxy, which says who its clients are."""
    example = str(ROOT / "examples" / "community")
    with Running.started("up", example, home / "guesses", PROXY, LATER) as running:
        yield running


def sign_in(system: Running, email: str, password: str, address: str) -> Answer:
    who = {"email": email, "password": password}
    return system.ask("POST", "/tokens", who, {"x-forwarded-for": address})


def shown(answer: Answer) -> tuple[int, Any, list[str]]:
    """What a stranger sees of an answer, but for how long he has to wait."""
    body = {name: value for name, value in answer.json.items() if name != "retry_after"}
    return answer.status, body, sorted(answer.headers)


def test_guesses_are_held_off_whoever_is_guessed_and_the_owner_is_not(proxied: Running) -> None:
    proxied.token("ada@example.org")
    assert sign_in(proxied, "ada@example.org", PASSWORD, "192.0.2.1").status == 201
    seen = []
    for network, email in enumerate(("ada@example.org", "nobody@example.org")):
        answers = [
            sign_in(proxied, email, "not this one", f"198.51.{network}.{number}")
            for number in range(11)
        ]
        assert [one.status for one in answers[:10]] == [401] * 10
        refused(answers[10], 429, "resource_exhausted", "Too many requests")
        assert 50 <= int(answers[10].headers["retry-after"]) <= 60
        seen.append([shown(one) for one in answers])
    assert seen[0] == seen[1]
    assert sign_in(proxied, "ada@example.org", PASSWORD, "192.0.2.1").status == 201
    lines = proxied.until(lambda: proxied.events("turned_away", reason="guesses"))
    assert {line["peer"] for line in lines} == {"198.51.0.10", "198.51.1.10"}
    metrics = proxied.ask_admin("/metrics").body.decode()
    counts = [line for line in metrics.splitlines() if 'reason="guesses"' in line]
    assert sum(float(line.split()[-1]) for line in counts) == 2.0, counts


def test_who_comes_from_a_new_address_signs_in_while_fifty_hammer(proxied: Running) -> None:
    """Five that asked at once had all the room for password work, and everybody else none."""
    proxied.token("bob@example.org")
    over = threading.Event()
    seen: Counter[int] = Counter()
    asked: Counter[int] = Counter()

    def hammer(number: int) -> None:
        for guess in itertools.count():
            if over.is_set():
                return
            who = f"{number}-{guess}@example.org"
            seen[sign_in(proxied, who, "not this one", f"203.0.113.{number}").status] += 1
            asked[number] += 1
            over.wait(0.5)  # it is the passwords that are to be short, not the test's processors

    hammers = [threading.Thread(target=hammer, args=(number,)) for number in range(50)]
    for one in hammers:
        one.start()
    try:
        # Before that they are as good as anybody.
        proxied.until(lambda: all(asked[number] > 2 for number in range(50)))
        found = [
            sign_in(proxied, "bob@example.org", PASSWORD, f"192.0.2.{number}").status
            for number in range(100, 105)
        ]
    finally:
        over.set()
        for one in hammers:
            one.join(30)
    assert found == [201] * 5, seen
