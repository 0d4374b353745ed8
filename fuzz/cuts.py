"""Cuts: how the network hands over a row of bytes, decided by one byte of the input."""

import itertools
from random import Random

__all__ = ["pieces", "reader"]


def pieces(how: int, data: bytes) -> list[bytes]:
    """Cut `data`: 0 not at all, 1 at every byte, else at some places that hang on `how`."""
    if how == 0 or len(data) < 2:
        return [data] if data else []
    if how == 1 and len(data) <= 200:
        return [data[at : at + 1] for at in range(len(data))]
    random = Random(how)
    # Where lines end is where parsers differ: half of the cuts are there.
    breaks = [at for at, byte in enumerate(data) if byte in b"\r\n"] or [len(data) // 2]
    cuts = {0, len(data)}
    for _ in range(random.randint(1, 6)):
        near = random.choice(breaks) + random.randint(-1, 2)
        at = near if random.random() < 0.5 else int(random.random() * len(data))
        cuts.add(min(max(at, 0), len(data)))
    return [data[a:b] for a, b in itertools.pairwise(sorted(cuts))]


def reader(data: bytes, knobs: int) -> tuple[bytes, bytes]:
    """Split an input into its leading `knobs` (zero where missing) and the rest."""
    return data[:knobs].ljust(knobs, b"\0"), data[knobs:]
