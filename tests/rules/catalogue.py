"""The catalogue: every clause of the rules 20 to 30, in order."""

from importlib import import_module
from typing import Final

from tests.rules.entry import Entry

__all__ = ["CATALOGUE", "RULES"]

RULES: Final = {
    20: "Host, targets, methods and versions",
    21: "Framing, fields and chunks",
}

CATALOGUE: Final[list[Entry]] = [
    entry for rule in RULES for entry in import_module(f"tests.rules.rule_{rule}").ENTRIES
]
