"""The options that every benchmark of servers takes, and where its raw results go."""

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench._harness.rounds import Load
from bench._harness.servers import Contender, Missing

__all__ = ["load_of", "only", "options", "save"]


def options(name: str, *, rounds: int = 3, seconds: int = 4) -> argparse.ArgumentParser:
    """Return the parser of a benchmark's command line.

    From here on, whoever terminates the benchmark ends its servers, too.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(prog=f"./dev bench {name}")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=int, default=seconds, help="of each measure")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--only", default="", metavar="NAME,...", help="whose name holds one")
    parser.add_argument("--quick", action="store_true", help="see that each runs, no more")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the raw results")
    return parser


def load_of(settings: argparse.Namespace) -> Load:
    """Return how much load the command line asks for."""
    if settings.quick:
        return Load(1, 1.0, settings.connections, 1.0)
    return Load(settings.rounds, settings.seconds, settings.connections, 1.0)


def only(
    settings: argparse.Namespace, contenders: Sequence[Contender | Missing]
) -> list[Contender | Missing]:
    """Leave those whose names hold one of the words that were asked for: all, without any."""
    words = [word.strip().lower() for word in settings.only.split(",") if word.strip()]
    return [
        one for one in contenders if not words or any(word in one.name.lower() for word in words)
    ]


def save(settings: argparse.Namespace, results: Mapping[str, object]) -> None:
    """Write the raw results where the command line says."""
    if settings.json is not None:
        settings.json.write_text(json.dumps(results, indent=1, default=dict))
