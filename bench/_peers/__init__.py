"""The peers that ours is measured beside, each a tiny app as its own documentation writes it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench._harness.servers import Contender

__all__ = [
    "fastapi",
    "fastapi_proxy",
    "fastify",
    "fastify_proxy",
    "installed",
    "modules",
    "node",
    "upstream",
    "uvicorn",
]

_HERE: Final = Path(__file__).parent
_ROOT: Final = _HERE.parents[1]
_MODULES: Final = Path(sys.prefix) / "bench-node"
_QUIET: Final = ("--log-level", "critical", "--no-access-log", "--loop", "uvloop")


def uvicorn() -> Contender:
    """uvicorn on uvloop and httptools with a bare ASGI function: its own floor."""
    return _asgi("uvicorn, bare ASGI", "bare_asgi")


def fastapi() -> Contender:
    """FastAPI with a pydantic model, on uvicorn."""
    return _asgi("FastAPI, uvicorn", "fastapi_json")


def fastapi_proxy(upstream_port: int) -> Contender:
    """A reverse proxy in FastAPI with a shared httpx client."""
    return _asgi("FastAPI + httpx", "fastapi_proxy", upstream_port)


def node() -> list[Contender]:
    """Node's own http module; nothing where there is no node."""
    if shutil.which("node") is None:
        print("no node on the PATH: left out")
        return []
    return [Contender("node http", ["node", str(_HERE / "node_http.cjs")])]


def fastify() -> list[Contender]:
    """Fastify with a JSON schema; nothing where there is no node and npm."""
    return _fastify("Fastify", "fastify_json.cjs")


def fastify_proxy(upstream_port: int) -> list[Contender]:
    """@fastify/http-proxy as it comes; nothing where there is no node and npm."""
    return _fastify("@fastify/http-proxy", "fastify_proxy.cjs", upstream_port)


def upstream() -> Contender:
    """The cheapest server that answers 200 bytes of JSON to whatever ends like a request."""
    return Contender("upstream", [sys.executable, str(_HERE / "upstream.py"), "{port}"])


def modules(wanted: str) -> Path | None:
    """Install the locked npm packages into the virtual environment, once per lock.

    Returns their folder; None where there is no node and npm.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        print(f"no node and npm on the PATH: without {wanted}")
        return None
    if installed() is None:
        _MODULES.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_HERE / name, _MODULES / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=_MODULES, check=True)
    return installed()


def installed() -> Path | None:
    """Return the folder of the npm packages, if those of the lock are there."""
    copy, found = _MODULES / "package-lock.json", _MODULES / "node_modules"
    lock = (_HERE / "package-lock.json").read_bytes()
    return found if found.exists() and copy.exists() and copy.read_bytes() == lock else None


def _asgi(name: str, module: str, upstream_port: int = 0) -> Contender:
    command = [sys.executable, "-m", "uvicorn", f"bench._peers.{module}:app", "--port", "{port}"]
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "src")])
    return Contender(
        name, [*command, *_QUIET], {"PYTHONPATH": path, "UPSTREAM": str(upstream_port)}
    )


def _fastify(name: str, script: str, upstream_port: int = 0) -> list[Contender]:
    found = modules(name)
    if found is None:
        return []
    env = {"NODE_PATH": str(found), "UPSTREAM": str(upstream_port)}
    return [Contender(name, ["node", str(_HERE / script)], env)]
