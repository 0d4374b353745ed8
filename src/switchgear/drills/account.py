"""What a ledger's entries say together: lost, doubled, unintended. Pure, no I/O."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

__all__ = ["Account", "Entry", "Kind", "reconcile"]


class Kind(StrEnum):
    """What an entry says about its id; the last four are the ledger's own."""

    INTENT = "intent"  # a client is about to ask for it
    ACKNOWLEDGED = "acknowledged"  # the system said that it is done
    REFUSED = "refused"  # the system said that it is not done and will not be
    UNKNOWN = "unknown"  # no answer, or one that says neither
    OBSERVED = "observed"  # its effect was seen
    OPENED = "opened"
    CLOSED = "closed"
    MALFORMED = "malformed"  # a line that is no entry
    TORN = "torn"  # a client died in the middle of a line


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line: what `by` says about `id`.

    `mark` tells one id's content from another's (a digest, an owner): an effect whose mark differs
    from the intended one is somebody else's. `at` is the ledger's monotonic clock at receipt.
    """

    kind: Kind
    id: str
    mark: str = ""
    by: str = ""
    at: float = 0.0


class Account(msgspec.Struct, frozen=True):
    """The outcome of a reconciliation, as sorted ids.

    `unknown_observed` and `unknown_absent` are intents without a clear answer: either is allowed,
    their sum says how much the system left open. `opened` and `malformed` say whether the
    ledger itself can be trusted.
    """

    intended: int = 0
    acknowledged: int = 0
    observed: int = 0
    lost: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    unintended: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    refused_but_observed: tuple[str, ...] = ()
    unknown_observed: tuple[str, ...] = ()
    unknown_absent: tuple[str, ...] = ()
    opened: int = 0
    closed: int = 0
    malformed: int = 0
    torn: int = 0

    @property
    def sound(self) -> bool:
        """Whether the ledger was opened once and understood all it was told."""
        return self.opened == 1 and self.malformed == 0


class _State:
    __slots__ = ("intents", "marks", "observed", "seen")

    def __init__(self) -> None:
        self.intents: set[str] = set()  # their marks
        self.marks: set[str] = set()  # the marks of the effects
        self.observed = 0
        self.seen: set[Kind] = set()


def reconcile(entries: Iterable[Entry]) -> Account:
    """Hold acknowledgements and observed effects against the intents, id by id.

    The order of entries does not matter: they come from several processes.
    """
    states: dict[str, _State] = {}
    own = dict.fromkeys((Kind.OPENED, Kind.CLOSED, Kind.MALFORMED, Kind.TORN), 0)
    for entry in entries:
        if entry.kind in own:
            own[entry.kind] += 1
            continue
        state = states.setdefault(entry.id, _State())
        state.seen.add(entry.kind)
        if entry.kind is Kind.INTENT:
            state.intents.add(entry.mark)
        elif entry.kind is Kind.OBSERVED:
            state.observed += 1
            state.marks.add(entry.mark)
    return _sum(states, own)


def _sum(states: dict[str, _State], own: dict[Kind, int]) -> Account:
    ids: dict[str, list[str]] = {}
    for name in sorted(states):
        for column in _columns(states[name]):
            ids.setdefault(column, []).append(name)
    counts = {
        "intended": sum(Kind.INTENT in state.seen for state in states.values()),
        "acknowledged": sum(Kind.ACKNOWLEDGED in state.seen for state in states.values()),
        "observed": sum(state.observed > 0 for state in states.values()),
    }
    counts.update((kind.value, count) for kind, count in own.items())
    return msgspec.convert(ids | counts, Account)


def _columns(state: _State) -> list[str]:
    """Name the columns of `Account` in which an id belongs."""
    columns = []
    acknowledged = Kind.ACKNOWLEDGED in state.seen
    if acknowledged and not state.observed:
        columns.append("lost")
    if state.observed > 1:
        columns.append("duplicated")
    if state.observed and not state.intents:
        columns.append("unintended")
    if state.intents and state.marks - state.intents:
        columns.append("mismatched")
    if acknowledged or not state.intents:
        return columns
    if Kind.REFUSED in state.seen and Kind.UNKNOWN not in state.seen:
        return [*columns, "refused_but_observed"] if state.observed else columns
    return [*columns, "unknown_observed" if state.observed else "unknown_absent"]
