"""The catalogue: every clause of rules 20 to 30 and 38, and of 16 what hangs on a socket."""

from importlib import import_module
from typing import Final

from tests.rules.entry import Entry

__all__ = ["CATALOGUE", "RULES"]

RULES: Final = {
    16: "Who has left, and who has only ended its half",
    20: "Host, targets, methods and versions",
    21: "Framing, fields and chunks",
    22: "Framing anew, and upstreams that break rules",
    23: "Fields of one hop, identity, and what is ours",
    24: "Paths",
    25: "Informational answers, answers without a body, and cuts",
    26: "The slow, and the many",
    27: "What is asked again",
    28: "What is pipelined",
    29: "What a process that goes away still answers",
    30: "WebSockets that pass through",
    38: "Pages of other sites",
}

CATALOGUE: Final[list[Entry]] = [
    entry for rule in RULES for entry in import_module(f"tests.rules.rule_{rule}").ENTRIES
]
