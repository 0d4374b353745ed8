"""The corpus: inputs that reached something new, packed in one file per target.

A line is one input, written as Python writes bytes, so that a difference can be read. What was
found stands by itself, in `found/TARGET/`, under a name that says what it was.
"""

import ast
from pathlib import Path
from typing import Final

__all__ = ["ROOT", "found", "pack", "packed"]

ROOT: Final = Path(__file__).parent / "corpus"
MOST: Final = 300  # inputs of one target
MOST_BYTES: Final = 60_000  # of one target's file


def packed(target: str, root: Path = ROOT) -> list[bytes]:
    """Return the merged inputs of a target."""
    file = root / f"{target}.txt"
    if not file.exists():
        return []
    return [bytes(ast.literal_eval(line)) for line in file.read_text("ascii").splitlines()]


def found(target: str, root: Path = ROOT) -> dict[str, bytes]:
    """Return what was found at a target, by name."""
    folder = root / "found" / target
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.bin"))}


def pack(target: str, inputs: list[bytes], root: Path = ROOT) -> int:
    """Keep the shortest of these inputs; return how many."""
    kept, size = [], 0
    for data in sorted(set(inputs), key=lambda data: (len(data), data))[:MOST]:
        size += len(repr(data)) + 1
        if size > MOST_BYTES:
            break
        kept.append(repr(data))
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{target}.txt").write_text("".join(f"{line}\n" for line in kept), "ascii")
    return len(kept)
