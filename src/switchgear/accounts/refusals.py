"""Refusals of accounts: each is counted by its reason, and shown to an observer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from switchgear.http.events import Turned
from switchgear.policy.fault import Fault, Refusal
from switchgear.policy.status import STATUS

__all__ = ["GUESSES", "REASONS", "Observer", "Refusals"]

Observer = Callable[[Turned], None]

GUESSES: Final = "guesses"
"""So much was guessed wrong at one account that it has to wait."""

_OF_PASSWORDS: Final = {Refusal.FULL: "passwords-full", Refusal.LIMITED: "passwords-share"}
REASONS: Final = frozenset({GUESSES, *_OF_PASSWORDS.values()})


class Refusals:
    """Counts and shows the refusals that pass through it."""

    def __init__(self, observer: Observer | None = None) -> None:
        self._observer = observer
        self.counts = dict.fromkeys(sorted(REASONS), 0)

    @contextmanager
    def told(self, address: str, reason: str = "") -> Iterator[None]:
        """Tell of a refusal within: for this `reason`, else for that of password work."""
        try:
            yield
        except Fault as fault:
            if fault.refusal in _OF_PASSWORDS:
                why = reason or _OF_PASSWORDS[fault.refusal]
                self.counts[why] += 1
                if self._observer is not None:
                    self._observer(Turned(address, STATUS[fault.code], why, fault.detail))
            raise
