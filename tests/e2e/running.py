"""A system as its users meet it: started by the command line, asked by a plain client."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

from tools.ports import free_port
from tools.source import ROOT, SOURCE

__all__ = ["PASSWORD", "ROOT", "Answer", "Running", "command", "environment", "run"]

PASSWORD = "correct horse battery"
PATIENCE = 60.0


def command(*words: str) -> list[str]:
    """Return what runs the command line of this checkout."""
    return [sys.executable, "-c", "from switchgear.cli import main; main()", *words]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of the command line."""
    return {**os.environ, "PYTHONPATH": str(SOURCE), **more}


def run(*words: str, cwd: Path = ROOT, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end."""
    return subprocess.run(
        command(*words),
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


class Answer(NamedTuple):
    """A whole response. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @classmethod
    def of(cls, response: HTTPResponse) -> "Answer":
        """Read a response to its end."""
        headers = {name.lower(): value for name, value in response.getheaders()}
        return cls(response.status, headers, response.read())


class Running:
    """A system under a supervisor; its log is kept in a file."""

    def __init__(self, verb: str, app: str, data: Path, *flags: str, cwd: Path = ROOT) -> None:
        self.data = data
        self.port = free_port()
        self.admin = free_port()
        self._log = data.parent / f"{data.name}.log"
        words = [verb, app, f"--port={self.port}", f"--set=admin.port={self.admin}"]
        words += [f"--data={data}", *flags]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command(*words),
                cwd=cwd,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @classmethod
    @contextlib.contextmanager
    def started(cls, verb: str, app: str, data: Path, *flags: str, **given: Any) -> Iterator[Any]:
        """Start one, give it when it is ready, and end it as an operator would."""
        system = cls(verb, app, data, *flags, **given)
        try:
            system.until(lambda: system.events("ready", process="supervisor") or system.ended)
            if system.ended:
                raise RuntimeError(f"it ended:\n{system.text}")
            yield system
        finally:
            system.process.send_signal(signal.SIGINT)
            try:
                system.process.wait(30)
            except subprocess.TimeoutExpired:
                system.process.kill()
                system.process.wait()

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self.process.poll() is not None

    @property
    def text(self) -> str:
        """All that it printed so far."""
        return self._log.read_text("utf-8", "replace")

    def events(self, event: str, **wanted: object) -> list[dict[str, Any]]:
        """Return the log's lines of one kind that have these fields."""
        lines = [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]
        return [
            line for line in lines if line.get("event") == event and wanted.items() <= line.items()
        ]

    def until(self, what: Callable[[], Any], within: float = PATIENCE) -> Any:
        """Wait until there is something, and return it."""
        end = time.monotonic() + within
        while not (found := what()):
            assert time.monotonic() < end, f"not within {within:g} s:\n{self.text[-3000:]}"
            time.sleep(0.05)
        return found

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        port: int = 0,
    ) -> Answer:
        """Ask once on a connection of its own. Bytes are sent as they are, all else as JSON."""
        sent = dict(headers or {})
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("content-type", "application/json")
        connection = HTTPConnection("127.0.0.1", port or self.port, timeout=15)
        try:
            connection.request(method, path, content, sent)
            return Answer.of(connection.getresponse())
        finally:
            connection.close()

    def ask_admin(self, path: str) -> Answer:
        """Ask the admin port, with its token."""
        token = (self.data / "admin.token").read_text().strip()
        return self.ask("GET", path, headers={"authorization": f"Bearer {token}"}, port=self.admin)

    def token(self, email: str = "somebody@example.org") -> str:
        """Sign up, sign in, and return an access token."""
        who = {"email": email, "password": PASSWORD}
        assert self.ask("POST", "/accounts", who).status == 202
        answer = self.ask("POST", "/tokens", who)
        assert answer.status == 201, answer.body
        return str(answer.json["access_token"])
