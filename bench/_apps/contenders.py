"""Our contenders, beside the peers'."""

import os
import sys
from pathlib import Path
from typing import Final

from bench._harness.servers import Contender

__all__ = ["ours_json", "ours_proxy"]

_ROOT: Final = Path(__file__).parents[2]


def ours_json(loop: str = "uvloop") -> Contender:
    """A user's coroutine behind our server."""
    return _ours(f"ours, {loop}", "json_app", loop)


def ours_proxy(upstream_port: int, loop: str = "uvloop", *, protected: bool = False) -> Contender:
    """Our server before our pool, with or without the outbound stack."""
    extra = ["protected"] if protected else []
    name = f"ours, {loop}" + (", full stack" if protected else "")
    return _ours(name, "proxy_app", loop, *extra, upstream_port=upstream_port)


def _ours(name: str, module: str, loop: str, *extra: str, upstream_port: int = 0) -> Contender:
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "src")])
    return Contender(
        name,
        [sys.executable, "-m", f"bench._apps.{module}", "{port}", loop, *extra],
        {"PYTHONPATH": path, "UPSTREAM": str(upstream_port)},
    )
