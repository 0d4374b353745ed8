"""The targets by name: each a function of bytes that raises where a rule is broken."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, NamedTuple

from fuzz import grammar
from fuzz.grammar import Make, chance, noisy, several
from fuzz.targets import bodies, claims, client, frames, heads, proxy, server

__all__ = ["TARGETS", "Target"]


class Target(NamedTuple):
    """What takes the bytes, what makes them, and its `share` of all inputs.

    The first `knobs` bytes of an input say how the rest is handed over. An input has at most `most`
    bytes.
    """

    name: str
    run: Callable[[bytes], None]
    grammar: Make
    knobs: int
    share: float
    most: int

    def make(self, random: Random) -> bytes:
        """Make one nearly valid input."""
        knobs = (
            random.choice((0, 1, random.randrange(256), random.randrange(256)))
            for _ in range(self.knobs)
        )
        return (bytes(knobs) + noisy(self.grammar)(random))[: self.most]

    def vary(self, random: Random, data: bytes, known: Sequence[bytes]) -> bytes:
        """Change an input in one place, or put something `known` into it."""
        knobs, body = data[: self.knobs], data[self.knobs :]
        if chance(random, 0.1):
            return bytes(random.choice((0, 1, random.randrange(256))) for _ in knobs) + body
        if chance(random, 0.4):
            return knobs + grammar.spoil(random, body)
        piece = random.choice(known)
        if chance(random, 0.5):
            begin = random.randrange(len(piece) + 1)
            piece = piece[begin : begin + random.randint(1, 40)]
        at = random.randrange(len(body) + 1)
        over = random.choice((0, 0, len(piece)))
        return (knobs + body[:at] + piece + body[at + over :])[: self.most]


requests, responses = several(grammar.request), several(grammar.response, 2)

TARGETS: Final = {
    target.name: target
    for target in (
        Target("request_heads", heads.request_heads, grammar.request, 1, 10, 1000),
        Target("response_heads", heads.response_heads, grammar.response, 1, 12, 700),
        Target("field_lines", heads.field_lines, grammar.fields, 1, 12, 400),
        Target("targets", heads.targets, grammar.target, 0, 36, 200),
        Target("chunks", bodies.chunks, grammar.chunked, 2, 10, 500),
        Target("lengths", bodies.lengths, grammar.chunked, 3, 2, 300),
        Target("frames", frames.frames, grammar.frames, 2, 8, 500),
        Target("faults", claims.faults, grammar.fault, 1, 3, 2500),
        Target("tokens", claims.tokens, grammar.claim, 1, 2, 200),
        Target("deadlines", claims.deadlines, grammar.claim, 1, 6, 300),
        Target("addresses", claims.addresses, grammar.claim, 1, 6, 300),
        Target("server", server.server, requests, 2, 0.25, 1500),
        Target("client", client.client, responses, 2, 0.25, 1200),
        Target("proxy_requests", proxy.proxy_requests, requests, 2, 0.15, 1500),
        Target("proxy_answers", proxy.proxy_answers, responses, 2, 0.15, 1200),
    )
}
