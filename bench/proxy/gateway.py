"""Our gateway, everything on: as `switchgear run gateway` builds it, its counters read."""

import json
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench._harness.load import Asked
from bench._harness.servers import Contender, Running
from bench._harness.source import PATH
from switchgear.identity.keys import SigningKey, jwks
from switchgear.identity.tokens import Minter, TokenSettings
from switchgear.policy.call import Principal

__all__ = ["Identity", "gateway", "identity", "lines_with"]

_ANSWERS_WITHIN: Final = 30.0
_CONFIGURATION: Final = """
[gateway]
address = { rate = 1e9, burst = 1e9 }
principal = { rate = 1e9, burst = 1e9 }

[trust]
internal_key = { env = "BENCH_KEY" }

[peers]
"""


class Identity(NamedTuple):
    """Who calls: the header with a token of accounts, and the keys that accounts publish."""

    headers: Mapping[str, str]
    keys: str


def identity() -> Identity:
    """Sign a caller in: an access token like those of accounts, for a day."""
    key = SigningKey.generate()
    settings = TokenSettings("switchgear", "switchgear", lifetime=86_000.0)
    token = Minter(key, settings).mint(Principal("bench"), time.time(), session="bench")
    return Identity({"Authorization": f"Bearer {token}"}, jwks([key]).decode())


def gateway(
    name: str,
    who: Identity,
    upstream_port: int,
    *,
    addresses: Sequence[str] = ("127.0.0.1",),
    routes: int = 0,
    more: str = "",
    asked: Asked | None = None,
) -> Contender:
    """Return the gateway before an upstream, in its default configuration.

    Its limits are on but so high that they refuse nobody, and accounts is a file of keys. Lines go
    to its output. `more` is added to its configuration; `asked`, if given, is what it is asked.
    """
    served = json.dumps([f"tcp:{address}:{upstream_port}" for address in addresses])
    peers = f'service = {served}\naccounts = ["tcp:{addresses[0]}:{upstream_port}"]\n'
    app = Path(__file__).parents[1] / "_apps" / "routed"
    options = ["--port={port}", "--data={folder}/data", "--config={folder}/front.toml"]
    return Contender(
        name,
        [sys.executable, "-m", "bench._apps.gateway", "run", "gateway", str(app), *options],
        {
            "PYTHONPATH": PATH,
            "BENCH_KEY": "0123456789abcdef0123456789abcdef",
            "ROUTES": str(routes),
            "COUNTS": "{folder}/counts",
        },
        {"front.toml": _CONFIGURATION + peers + more},
        who.headers,
        counts,
        asked,
    )


def counts(place: Running) -> Mapping[str, int]:
    """Ask the gateway for its counters, and count its log lines. Raises RuntimeError."""
    until = time.monotonic() + _ANSWERS_WITHIN
    while True:
        try:
            told: dict[str, int] = json.loads(_told(place))
        except (OSError, ValueError) as error:  # it is still starting
            if time.monotonic() > until:
                raise RuntimeError(f"the gateway does not tell its counters: {error!r}") from None
            time.sleep(0.05)
        else:
            return {**told, "log lines": lines_with(place, b'"event":"request"')}


def _told(place: Running) -> bytes:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(_ANSWERS_WITHIN)
        asking.connect(str(place.folder / "counts"))
        return b"".join(iter(lambda: asking.recv(65536), b""))


def lines_with(place: Running, mark: bytes) -> int:
    """Count the lines of a server's output that bear a mark."""
    with (place.folder / "out").open("rb") as lines:
        return sum(mark in line for line in lines)
