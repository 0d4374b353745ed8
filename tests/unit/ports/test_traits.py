"""What an engine lacks for what is asked of it."""

from switchgear.ports.traits import Trait, lacking


def test_what_is_lacking_is_named_with_who_needs_it() -> None:
    needs = [("consumer 'mail'", Trait.DELAY), ("consumer 'orders'", Trait.KEY_ORDER)]
    assert lacking("postgres", {Trait.DELAY}, needs) == [
        "consumer 'orders' needs key order, which postgres does not have"
    ]
    assert lacking("postgres", set(Trait), needs) == []
