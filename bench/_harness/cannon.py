"""The article's own load: autocannon from npm; wrk where there is no node."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bench._harness.load import heard

__all__ = ["UNIQUE", "Fired", "Shot", "fire"]

UNIQUE: Final = "[<id>]"
"""What stands in a body for an id that no other request has."""

_LUA: Final = """
local id, thread = 0, 0
function setup(t) t:set("number", thread); thread = thread + 1 end
function request()
  id = id + 1
  local body = string.gsub({body}, "%[<id>%]", number .. "-" .. id)
  return wrk.format({method}, nil, {headers}, body)
end
"""


class Shot(NamedTuple):
    """What is asked for. A body may hold UNIQUE."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: str = ""


class Fired(NamedTuple):
    """What came of it. Latencies in seconds (autocannon counts whole milliseconds)."""

    command: str
    requests: int
    seconds: float
    p50: float
    p97: float  # autocannon tells 97.5, wrk nothing: 0
    p99: float
    highest: float
    errors: int
    non_2xx: int

    @property
    def failed(self) -> int:
        """How many requests got no answer, or not the one that was due."""
        return self.errors + self.non_2xx


def fire(shot: Shot, *, connections: int, seconds: int, modules: Path | None) -> Fired:
    """Load with `modules`' autocannon, without it with wrk. Raises RuntimeError when that fails."""
    if modules is not None:
        return _autocannon(shot, connections, seconds, modules)
    if shutil.which("wrk") is None:
        raise RuntimeError("neither node and npm nor wrk is on the PATH")
    return _wrk(shot, connections, seconds)


def _autocannon(shot: Shot, connections: int, seconds: int, modules: Path) -> Fired:
    options = ["-c", str(connections), "-d", str(seconds), "-m", shot.method]
    for name, value in shot.headers.items():
        options += ["-H", f"{name}={value}"]
    if shot.body:
        options += ["-b", shot.body, *(["-I"] if UNIQUE in shot.body else [])]
    program = ["node", str(modules / "autocannon" / "autocannon.js")]
    told = json.loads(_run([*program, *options, "--json", "--no-progress", shot.url]))
    latency = told["latency"]
    return Fired(
        command=_shown("autocannon", options, shot.url),
        requests=told["requests"]["total"],
        seconds=told["duration"],
        p50=latency["p50"] / 1000,
        p97=latency["p97_5"] / 1000,
        p99=latency["p99"] / 1000,
        highest=latency["max"] / 1000,
        errors=told["errors"],  # timeouts are among them
        non_2xx=told["non2xx"],
    )


def _wrk(shot: Shot, connections: int, seconds: int) -> Fired:
    headers = ", ".join(f"[{json.dumps(k)}] = {json.dumps(v)}" for k, v in shot.headers.items())
    lua = _LUA.replace("{body}", json.dumps(shot.body)).replace("{headers}", f"{{{headers}}}")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(lua.replace("{method}", json.dumps(shot.method)))
        script.flush()
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
        told = _run(["wrk", *options, "-s", script.name, shot.url])
    seen = heard(told)
    non_2xx = sum(int(line.rpartition(":")[2]) for line in told.splitlines() if "Non-2xx" in line)
    return Fired(
        command=_shown("wrk", [*options, f"({shot.method})"], shot.url),
        requests=seen.requests,
        seconds=seen.seconds,
        p50=seen.p50,
        p97=0.0,
        p99=seen.p99,
        highest=0.0,
        errors=seen.errors - non_2xx,
        non_2xx=non_2xx,
    )


def _shown(program: str, options: list[str], url: str) -> str:
    """Write the command as a reader could type it; a token is nobody's business."""
    words = [program]
    for word in [*options, url]:
        hidden = "authorization=Bearer $token" if word.startswith("authorization=") else word
        words.append(f"'{hidden}'" if set(hidden) & set(" {[$") else hidden)
    return " ".join(words)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
