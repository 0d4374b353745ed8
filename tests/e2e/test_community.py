"""The README's own lines, run as printed, against the system that it says to start."""

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, Running
from tests.support.example import copied

EXAMPLE = "examples/community"


@pytest.fixture(scope="module")
def system(home: Path) -> Iterator[Running]:
    with Running.started("up", EXAMPLE, home / "data") as running:
        yield running


def printed() -> str:
    """Return the README's shell lines."""
    readme = (ROOT / "README.md").read_text()
    (lines,) = re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return str(lines)


def documents(text: str) -> list[object]:
    """Read the JSON documents that stand one behind the other in a text."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        document, at = decoder.raw_decode(text, at)
        found.append(document)
        while at < len(text) and text[at].isspace():
            at += 1
    return found


def test_the_curl_lines_work_as_printed(system: Running) -> None:
    lines = printed()
    assert lines.count("curl ") == 7
    # Only the port is another's, so that a test needs none in particular.
    script = lines.replace("127.0.0.1:8080", f"127.0.0.1:{system.port}")
    done = subprocess.run(
        ["sh", "-eu", "-c", script], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    account, user, page, about, schema, ready = documents(done.stdout)
    assert account == {"email": "ada@example.org", "status": "accepted"}
    assert isinstance(user, dict)
    assert (user["name"], user["email"]) == ("Grace", "grace@example.org")
    assert isinstance(page, dict)
    assert [one["id"] for one in page["users"]] == [user["id"]]
    assert about == {"name": "community", "sentence": "One failure stays one failure."}
    assert isinstance(schema, dict)
    assert schema["openapi"].startswith("3.1")
    assert {"/users", "/users/{id}", "/about"} <= set(schema["paths"])
    assert ready == {"status": "ready", "degraded": []}


def welcomed(system: Running, path: str) -> datetime:
    """Wait until a user is welcomed; return when that was."""
    return datetime.fromisoformat(
        system.until(lambda: system.ask("GET", path).json["welcomed_at"], within=10)
    )


def test_a_new_user_is_welcomed_within_two_seconds(system: Running) -> None:
    token = system.token()
    asked = datetime.now(UTC)
    new = {"name": "Alan", "email": "alan@example.org"}
    user = system.ask("POST", "/users", new, {"authorization": f"Bearer {token}"}).json
    assert user["welcomed_at"] is None
    took = welcomed(system, f"/users/{user['id']}") - asked
    assert 0 < took.total_seconds() < 2


def test_the_pages_of_users_come_one_behind_the_other(system: Running) -> None:
    given = {"authorization": f"Bearer {system.token()}"}
    for number in range(5):
        new = {"name": f"n{number}", "email": f"page{number}@example.org"}
        assert system.ask("POST", "/users", new, given).status == 201
    seen: list[str] = []
    after = ""
    while True:
        page = system.ask("GET", f"/users?limit=2{after}").json
        assert len(page["users"]) <= 2
        seen += [one["email"] for one in page["users"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert len(seen) == len(set(seen)) >= 5
    assert [one for one in seen if one.startswith("page")] == [
        f"page{number}@example.org" for number in range(5)
    ]


def test_dev_answers_in_one_process_and_starts_anew_when_a_file_changes(home: Path) -> None:
    folder = home / "edited"
    copied(folder)
    with Running.started("dev", str(folder), home / "dev") as system:
        given = {"authorization": f"Bearer {system.token()}"}
        new = {"name": "Edsger", "email": "edsger@example.org"}
        user = system.ask("POST", "/users", new, given).json
        welcomed(system, f"/users/{user['id']}")
        source = (folder / "app.py").read_text()
        changed = source.replace("stays one failure.", "stays one failure!")
        (folder / "app.py").write_text(changed)
        system.until(lambda: sentence(system).endswith("!"), 20)
        assert system.ask("GET", f"/users/{user['id']}").status == 200
        (folder / "app.py").write_text(changed + "\n\nbroken = 1 / 0\n")
        (failed,) = system.until(lambda: system.events("process cannot start"), 20)
        assert "ZeroDivisionError: division by zero" in failed["sentence"]
        assert failed["trace"].count("  File ") == 1, "their own frame, and none of ours"
        (folder / "app.py").write_text(source)
        system.until(lambda: sentence(system).endswith("failure."), 20)


def sentence(system: Running) -> str:
    """Return what `/about` says, nothing while the system is being started anew."""
    try:
        answer = system.ask("GET", "/about")
    except OSError:
        return ""
    return str(answer.json["sentence"]) if answer.status == 200 else ""
