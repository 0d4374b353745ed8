"""Reconciliation: what intents, acknowledgements and effects say together."""

from switchgear.drills.account import Account, Entry, Kind, reconcile

OPENED = Entry(Kind.OPENED, "boot")


def said(*entries: tuple[str, str] | tuple[str, str, str]) -> Account:
    """Reconcile (kind, id[, mark]) lines of a ledger that was opened once."""
    lines = [(*entry, "")[:3] for entry in entries]
    return reconcile([OPENED, *(Entry(Kind(kind), name, mark) for kind, name, mark in lines)])


def test_what_was_intended_acknowledged_and_observed_once_is_well() -> None:
    account = said(("intent", "1"), ("acknowledged", "1"), ("observed", "1"))
    assert account == Account(intended=1, acknowledged=1, observed=1, opened=1)
    assert account.sound


def test_acknowledged_but_never_observed_is_lost() -> None:
    account = said(("intent", "1"), ("acknowledged", "1"), ("intent", "2"), ("observed", "2"))
    assert account.lost == ("1",)


def test_observed_twice_is_a_duplicate_whether_acknowledged_or_not() -> None:
    lines = [("intent", "1"), ("observed", "1"), ("observed", "1")]
    assert said(*lines).duplicated == ("1",)
    assert said(*lines, ("acknowledged", "1")).duplicated == ("1",)
    assert said(*lines[:2]).duplicated == ()


def test_observed_but_never_intended() -> None:
    assert said(("observed", "1")).unintended == ("1",)


def test_an_effect_with_the_mark_of_another_is_mismatched() -> None:
    account = said(
        ("intent", "1", "ada"),
        ("observed", "1", "bob"),
        ("intent", "2", "x"),
        ("observed", "2", "x"),
    )
    assert account.mismatched == ("1",)


def test_intents_without_a_clear_answer_are_unknown_done_or_not() -> None:
    account = said(
        ("intent", "1"),
        ("unknown", "1"),
        ("intent", "2"),
        ("intent", "3"),
        ("unknown", "3"),
        ("observed", "3"),
    )
    assert account.unknown_absent == ("1", "2")
    assert account.unknown_observed == ("3",)
    assert account.lost == ()


def test_a_refusal_must_be_true() -> None:
    account = said(
        ("intent", "1"), ("refused", "1"), ("intent", "2"), ("refused", "2"), ("observed", "2")
    )
    assert account.refused_but_observed == ("2",)
    assert account.unknown_absent == ()


def test_a_refusal_beside_an_unknown_outcome_decides_nothing() -> None:
    account = said(("intent", "1"), ("unknown", "1"), ("refused", "1"), ("observed", "1"))
    assert account.refused_but_observed == ()
    assert account.unknown_observed == ("1",)


def test_the_order_of_the_lines_does_not_matter() -> None:
    lines = [("intent", "1"), ("acknowledged", "1"), ("observed", "1"), ("observed", "2")]
    assert said(*lines) == said(*reversed(lines))


def test_a_ledger_that_did_not_understand_or_was_opened_twice_is_not_sound() -> None:
    assert not reconcile([OPENED, Entry(Kind.MALFORMED, "?")]).sound
    assert not reconcile([OPENED, OPENED]).sound
    assert not reconcile([]).sound
    assert reconcile([OPENED, Entry(Kind.TORN, '{"kind": "obs')]).sound
