"""The lease of the one probe, in situations."""

from switchgear.policy.gate import Permit
from switchgear.policy.probes import Probes


def test_the_place_is_free_until_a_probe_has_it() -> None:
    probes = Probes(10.0)
    assert probes.left(0.0) == 0.0
    probes.lease(Permit(100.0))
    assert [probes.left(now) for now in (100.0, 104.0, 110.0, 111.0)] == [10.0, 6.0, 0.0, 0.0]


def test_a_probe_that_comes_home_frees_the_place_at_once() -> None:
    probes = Probes(10.0)
    permit = Permit(100.0)
    probes.lease(permit)
    probes.give_back(permit)
    assert probes.left(101.0) == 0.0
    probes.lease(Permit(101.0))
    assert probes.lapsed == 0


def test_a_probe_that_never_comes_home_loses_the_place_and_is_counted() -> None:
    probes = Probes(10.0)
    late = Permit(100.0)
    probes.lease(late)
    holder = Permit(110.0)
    probes.lease(holder)
    assert probes.lapsed == 1
    probes.give_back(late)  # it has nothing to give back any more
    assert probes.left(110.0) == 10.0
    probes.lease(Permit(120.0))
    assert probes.lapsed == 2


def test_what_probes_found_out_is_counted() -> None:
    probes = Probes(10.0)
    assert (probes.succeeded, probes.slow, probes.lapsed) == (0, 0, 0)
    probes.count(slow=False)
    probes.count(slow=True)
    probes.count(slow=True)
    assert (probes.succeeded, probes.slow) == (3, 2)


def test_a_new_beginning_forgets_all_but_the_lapses() -> None:
    probes = Probes(10.0)
    probes.lease(Permit(100.0))
    probes.lease(Permit(110.0))
    probes.count(slow=True)
    probes.clear()
    assert (probes.succeeded, probes.slow, probes.lapsed) == (0, 0, 1)
    assert probes.left(110.0) == 0.0
    probes.lease(Permit(110.0))
    assert probes.lapsed == 1
