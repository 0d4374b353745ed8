"""What a compiler is told leaves a class as it is."""

from switchgear.policy.native import native


class Plain:
    """Something that comes and goes."""


def test_a_class_stays_the_same() -> None:
    assert native(free_list_len=1)(Plain) is Plain
