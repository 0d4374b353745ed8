"""The contenders in Node: they measure themselves, in a process of their own, when asked to."""

import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from bench._peers import modules

__all__ = ["Node", "node"]

_SCRIPT: Final = Path(__file__).parents[1] / "_peers" / "opossum.cjs"
_PATIENCE: Final = 60.0


class Node:
    """A Node that answers what a call costs it. Python waits for it, so no two are measured."""

    def __init__(self, process: "subprocess.Popen[str]", says: IO[str], told: IO[str]) -> None:
        self._process = process
        self._says = says
        self._told = told

    def ask(self, kind: str, work: str, seconds: float, at_once: int) -> float:
        """Have one round measured: nanoseconds of CPU per call, garbage collection included.

        Raises RuntimeError for what failed there, and for a Node that has ended or is silent.
        """
        said = self._said(f"{kind} {work} {seconds} {at_once}")
        try:
            return float(said)
        except ValueError:
            raise RuntimeError(said) from None

    def version(self) -> str:
        """Return which Node and which opossum this is."""
        return self._said("version")

    def _said(self, words: str) -> str:
        self._told.write(f"{words}\n")
        self._told.flush()
        if not select.select([self._says], [], [], _PATIENCE)[0]:
            raise RuntimeError(f"node said nothing for {_PATIENCE:g} s")
        line = self._says.readline()
        if not line:
            raise RuntimeError(f"node ended with {self._process.wait()}")
        return line.strip()


@contextmanager
def node() -> Iterator[Node | None]:
    """Run the script; None where there is no node and npm."""
    found = modules("opossum")
    if found is None:
        yield None
        return
    process = subprocess.Popen(
        ["node", str(_SCRIPT)],
        env={**os.environ, "NODE_PATH": str(found)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:  # closes its input, at whose end it ends
        yield Node(process, process.stdout, process.stdin)
