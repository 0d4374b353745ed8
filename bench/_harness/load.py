"""The load of a benchmark: wrk where it is on the PATH, else a process of our own.

Both hold N connections and send the next request as soon as an answer is whole (closed loop, no
pipelining): the question is what a request costs, not how long a queue gets.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bench._harness.pinning import pinned

__all__ = ["Asked", "Seen", "ask", "generator", "heard"]

_OWN: Final = Path(__file__).with_name("sender.py")
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_LUA: Final = """
wrk.method = "{method}"
wrk.body = {body}
wrk.headers["Content-Type"] = "application/json"
"""
_LUA_AMONG: Final = """
local made, at = {{}}, 0
function init(arguments)
  for number = 0, {among} - 1 do
    local path = string.gsub({path}, "<n>", tostring(number))
    made[number] = wrk.format("{method}", path)
  end
end
function request()
  at = (at + 1) % {among}
  return made[at]
end
"""


class Asked(NamedTuple):
    """What is asked of a server.

    Where it is `among` several, each request puts the next number below that for `<n>` in the path.
    """

    method: str = "GET"
    path: str = "/"
    body: bytes = b""
    headers: Mapping[str, str] = {}
    among: int = 0


class Seen(NamedTuple):
    """What came of it: latencies in seconds, `errors` of any kind."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int


def generator() -> str:
    """Name the load generator of this machine."""
    return "wrk" if shutil.which("wrk") else "our own sender"


def ask(asked: Asked, port: int, *, seconds: float, connections: int, cpu: int | None) -> Seen:
    """Load `127.0.0.1:port` for so long, from one CPU. Raises RuntimeError when that fails."""
    if shutil.which("wrk"):
        return _wrk(asked, port, seconds, connections, cpu)
    return _own(asked, port, seconds, connections, cpu)


def _wrk(asked: Asked, port: int, seconds: float, connections: int, cpu: int | None) -> Seen:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_script(asked))
        script.flush()
        # wrk takes whole seconds, and its own calibration the first half.
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
        scripted = asked.body or asked.among or asked.method != "GET"
        command += ["-s", script.name] if scripted else []
        for name, value in asked.headers.items():
            command += ["-H", f"{name}: {value}"]
        path = "/" if asked.among else asked.path
        return heard(_run([*command, f"http://127.0.0.1:{port}{path}"], cpu))


def _script(asked: Asked) -> str:
    if asked.among:
        path = json.dumps(asked.path)
        return _LUA_AMONG.format(method=asked.method, path=path, among=asked.among)
    return _LUA.format(method=asked.method, body=json.dumps(asked.body.decode()))


def heard(said: str) -> Seen:
    """Read what wrk printed. Raises RuntimeError when there is no total in it."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", said)
    if total is None:
        raise RuntimeError(f"wrk said no total:\n{said}")
    errors = sum(int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", said))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return Seen(
        requests=int(total[1]),
        seconds=float(total[2]) * _UNITS[total[3]],
        p50=_ranked(said, 50),
        p99=_ranked(said, 99),
        errors=errors + (int(bad[1]) if bad else 0),
    )


def _ranked(said: str, percent: int) -> float:
    found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\b", said)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def _own(asked: Asked, port: int, seconds: float, connections: int, cpu: int | None) -> Seen:
    wanted = {
        "port": port,
        "seconds": seconds,
        "connections": connections,
        "method": asked.method,
        "path": asked.path,
        "body": asked.body.decode(),
        "headers": dict(asked.headers),
        "among": asked.among,
    }
    return Seen(**json.loads(_run([sys.executable, str(_OWN), json.dumps(wanted)], cpu)))


def _run(command: list[str], cpu: int | None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=pinned(cpu)
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
