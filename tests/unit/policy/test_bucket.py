"""The token bucket, in situations."""

import pytest

from switchgear.policy.bucket import BucketSettings, Gcra, GcraSettings, TokenBucket
from switchgear.policy.fault import Code, Refusal
from switchgear.policy.gate import ANYONE, Ask, Permit, Refused, Waiting
from switchgear.policy.verdict import BAD, GOOD


def make(rate: float = 2.0, burst: float = 4.0, keys: int = 100) -> TokenBucket:
    return TokenBucket("sign-in", BucketSettings(rate=rate, burst=burst, keys=keys))


def spaced(interval: float = 0.5, tolerance: float = 0.0, keys: int = 100) -> Gcra:
    return Gcra("sms", GcraSettings(interval=interval, tolerance=tolerance, keys=keys))


def passes(bucket: TokenBucket | Gcra, now: float, ask: Ask = ANYONE) -> int:
    """Ask until refused, and return how often it went well."""
    for count in range(1000):
        if not isinstance(bucket.admit(ask, now), Permit):
            return count
    pytest.fail("a thousand went through")


def refused(bucket: TokenBucket | Gcra, now: float, ask: Ask = ANYONE) -> Refused:
    refusal = bucket.admit(ask, now)
    assert isinstance(refusal, Refused), refusal
    return refusal


def test_a_burst_passes_then_the_rate() -> None:
    bucket = make()
    assert passes(bucket, 10.0) == 4
    assert passes(bucket, 10.4) == 0
    assert passes(bucket, 10.5) == 1
    assert passes(bucket, 12.0) == 3
    assert passes(bucket, 1000.0) == 4


def test_a_refusal_says_exactly_how_long() -> None:
    bucket = make(rate=3.0)
    for start in (0.1, 7.7, 12345.678):
        passes(bucket, start)
        refusal = refused(bucket, start)
        assert refusal.refusal is Refusal.LIMITED
        assert refusal.retry_after == pytest.approx(1 / 3)
        assert refusal.retry_after is not None
        assert isinstance(bucket.admit(ANYONE, start + refusal.retry_after), Permit)


def test_the_refusal_is_a_429_that_names_limit_and_key() -> None:
    bucket = make()
    passes(bucket, 0.0, Ask("ada"))
    refusal = refused(bucket, 0.0, Ask("ada"))
    assert refusal.detail == "limit 'sign-in' for 'ada' of 2/s is spent for 0.5 s"
    assert refusal.fault().code is Code.RESOURCE_EXHAUSTED


def test_each_key_has_a_bucket_of_its_own() -> None:
    bucket = make()
    assert passes(bucket, 0.0, Ask("ada")) == 4
    assert passes(bucket, 0.0, Ask("bob")) == 4
    assert passes(bucket, 0.0) == 4


def test_weights_take_more_tokens() -> None:
    bucket = make()
    assert isinstance(bucket.admit(Ask(weight=3), 0.0), Permit)
    assert refused(bucket, 0.0, Ask(weight=2)).retry_after == pytest.approx(0.5)
    assert isinstance(bucket.admit(ANYONE, 0.0), Permit)


def test_a_refusal_takes_no_token() -> None:
    bucket = make()
    passes(bucket, 0.0)
    for _ in range(100):
        refused(bucket, 0.0)
    assert passes(bucket, 2.0) == 4


def test_a_weight_beyond_the_burst_never_fits_and_says_so() -> None:
    refusal = refused(make(), 0.0, Ask(weight=5))
    assert refusal.retry_after is None
    assert "a weight of 5 never fits a burst of 4" in refusal.detail


def test_a_negative_weight_buys_nothing() -> None:
    with pytest.raises(ValueError, match="a weight from 0 would be right"):
        make().admit(Ask(weight=-1), 0.0)


def test_what_is_left_can_be_told() -> None:
    bucket = make()
    assert bucket.left("ada", 0.0) == 4.0
    bucket.admit(Ask("ada", weight=3), 0.0)
    assert bucket.left("ada", 0.0) == 1.0
    assert bucket.left("ada", 0.5) == 2.0
    assert bucket.left("", 0.0) == 4.0


def test_the_table_is_bounded() -> None:
    bucket = make(keys=10)
    for number in range(1000):
        bucket.admit(Ask(f"key {number}"), float(number))
    assert bucket.statistics()["keys"] == 10
    assert bucket.statistics()["forgotten"] == 0, "each was full again when it left"


def test_eviction_never_forgives_a_spent_bucket() -> None:
    bucket = make(keys=10)
    passes(bucket, 0.0, Ask("spender"))
    for number in range(1000):
        passes(bucket, 0.0, Ask(f"flood {number}"))
    assert bucket.statistics()["forgotten"] != 0
    assert passes(bucket, 0.0, Ask("spender")) == 0
    assert passes(bucket, 0.5, Ask("spender")) <= 1


def test_a_flood_of_light_keys_does_not_lock_newcomers_out() -> None:
    bucket = make(keys=100)
    for number in range(500):
        bucket.admit(Ask(f"flood {number}"), 0.0)
    newcomers = [bucket.admit(Ask(f"newcomer {number}"), 0.0) for number in range(100)]
    assert sum(isinstance(answer, Permit) for answer in newcomers) > 50


def test_who_is_held_off_stays_in_the_table() -> None:
    bucket = make(keys=2)
    passes(bucket, 0.0, Ask("hammering"))
    for number in range(2):
        bucket.admit(Ask(f"light {number}"), 0.0)
        refused(bucket, 0.0, Ask("hammering"))
    strangers = [bucket.left(f"stranger {number}", 0.0) for number in range(100)]
    assert min(strangers) == 3.0, "what a light one owes, not what the hammering one does"


def test_a_small_debt_does_not_wash_away_a_larger_one_in_the_same_place() -> None:
    bucket = make(keys=2)
    spender, light, other, newcomer = [k for k in map(str, range(99)) if hash(k) % 2 == 0][:4]
    bucket.admit(Ask(light), 0.0)
    assert passes(bucket, 0.0, Ask(spender)) == 4
    bucket.admit(Ask(light), 0.0)  # so that the spender leaves the table first
    for elsewhere in [k for k in map(str, range(99)) if hash(k) % 2 == 1][:2]:
        bucket.admit(Ask(elsewhere), 0.0)
    assert bucket.statistics()["forgotten"] == 2
    assert [bucket.left(key, 0.0) for key in (spender, light, other, newcomer)] == [0.0] * 4


def test_who_is_busy_stays_in_the_table() -> None:
    bucket = make(keys=2)
    for key in ("busy", "light 0", "busy", "light 1"):
        bucket.admit(Ask(key), 0.0)
    strangers = [bucket.left(f"stranger {number}", 0.0) for number in range(100)]
    assert min(strangers) == 3.0, "what the light one owes, not what the busy one does"
    figures = bucket.statistics()
    assert (figures["keys"], figures["forgotten"]) == (2, 1)


def test_what_leaves_the_table_with_a_debt_is_counted_and_what_is_paid_for_is_not() -> None:
    bucket = make(rate=1.0, burst=1.0, keys=1)
    for key, now in (("a", 0.0), ("b", 1.0), ("c", 2.0)):
        assert passes(bucket, now, Ask(key)) == 1
    assert bucket.statistics()["forgotten"] == 0, "each was full again just then"
    bucket = make(keys=1)
    for key in ("a", "b", "c"):
        bucket.admit(Ask(key), 0.0)
    assert bucket.statistics()["forgotten"] == 2


@pytest.mark.parametrize("weight", [0, 1])
def test_a_clock_that_stepped_back_refuses_and_raises_nothing(weight: int) -> None:
    bucket = make()
    passes(bucket, 10.0)
    refusal = refused(bucket, 5.0, Ask(weight=weight))
    assert refusal.retry_after == pytest.approx(5.0 + weight / 2)


def test_permits_are_dated_and_counted() -> None:
    bucket = make()
    permits = [bucket.admit(Ask(weight=weight), 3.0) for weight in (1, 2, 1)]
    for permit in permits:
        assert isinstance(permit, Permit)
        assert (permit.at, permit.generation) == (3.0, 0)
    for permit in permits[:2]:
        assert isinstance(permit, Permit)
        bucket.settle(permit, GOOD, 4.0)
    figures = bucket.statistics()
    assert [figures[name] for name in ("admitted", "settled", "out")] == [3, 2, 1]


def test_a_double_settle_raises() -> None:
    bucket = make()
    permit = bucket.admit(ANYONE, 0.0)
    assert isinstance(permit, Permit)
    assert bucket.settle(permit, BAD, 0.0) == ()
    with pytest.raises(RuntimeError, match="'sign-in' was settled twice"):
        bucket.settle(permit, GOOD, 0.0)
    assert bucket.statistics()["settled"] == 1


def test_a_bucket_gives_out_no_waiting_places() -> None:
    with pytest.raises(RuntimeError, match="no waiting places"):
        make().abandon(Waiting(ANYONE, 0.0, 1.0), 0.0)


# -- the same in the words of an even spacing


def test_one_in_an_interval_and_never_two_at_once() -> None:
    gcra = spaced()
    assert passes(gcra, 10.0) == 1
    assert passes(gcra, 10.4) == 0
    assert passes(gcra, 10.5) == 1
    assert passes(gcra, 60.0) == 1, "nothing is saved up"


def test_so_much_ahead_of_the_spacing_is_tolerated() -> None:
    gcra = spaced(tolerance=0.25)
    assert passes(gcra, 10.0) == 1
    assert passes(gcra, 10.2) == 0
    assert passes(gcra, 10.25) == 1
    assert passes(gcra, 10.7) == 0, "what came early before counts on"
    assert passes(gcra, 10.75) == 1
    assert passes(spaced(tolerance=1.0), 0.0) == 3


def test_a_spaced_refusal_says_exactly_how_long_and_in_its_own_words() -> None:
    gcra = spaced(interval=0.3, tolerance=0.1)
    passes(gcra, 7.0, Ask("ada"))
    refusal = refused(gcra, 7.0, Ask("ada"))
    assert refusal.retry_after == pytest.approx(0.2)
    assert refusal.detail == "limit 'sms' for 'ada' of one in 0.3 s is spent for 0.2 s"
    assert refusal.refusal is Refusal.LIMITED
    assert isinstance(gcra.admit(Ask("ada"), 7.2), Permit)


def test_weights_take_more_intervals() -> None:
    gcra = spaced(tolerance=1.0)
    assert isinstance(gcra.admit(Ask(weight=3), 0.0), Permit)
    assert passes(gcra, 0.4) == 0
    assert passes(gcra, 0.5) == 1
    refusal = refused(gcra, 90.0, Ask(weight=4))
    assert refusal.retry_after is None
    assert refusal.detail == "limit 'sms': a weight of 4 never fits a tolerance of 1 s"


def test_what_is_left_of_a_spacing_can_be_told() -> None:
    gcra = spaced(tolerance=1.0)
    assert gcra.left("ada", 0.0) == 3.0
    gcra.admit(Ask("ada"), 0.0)
    assert gcra.left("ada", 0.0) == 2.0
    assert gcra.left("ada", 0.25) == 2.5


@pytest.mark.parametrize("rate", [3.0, 7.0, 0.3, 49.0])
def test_a_full_bucket_has_exactly_its_burst_left(rate: float) -> None:
    assert make(rate=rate, burst=10.0).left("ada", 5.0) == 10.0


def test_a_spacing_keeps_as_many_keys_as_it_is_told() -> None:
    gcra = spaced(keys=2)
    for key in ("a", "b", "c"):
        gcra.admit(Ask(key), 0.0)
    figures = gcra.statistics()
    assert (figures["keys"], figures["forgotten"]) == (2, 1)
    assert GcraSettings(interval=1.0).keys == 65_536
    assert GcraSettings(interval=1.0).tolerance == 0.0


def test_what_kind_of_gate_it_is_and_its_name_are_told() -> None:
    assert (make().kind, make().name) == ("rate", "sign-in")
    assert (spaced().kind, spaced().name) == ("rate", "sms")


def test_defaults_and_edges() -> None:
    assert BucketSettings(rate=1.0, burst=1.0).keys == 65_536
    assert BucketSettings(rate=0.1, burst=1, keys=1).keys == 1
    assert GcraSettings(interval=0.1, keys=1).keys == 1


def test_settings_do_not_change_under_whoever_shares_them() -> None:
    with pytest.raises(AttributeError):
        BucketSettings(rate=1.0, burst=1.0).rate = 2.0  # type: ignore[misc]  # the point
    with pytest.raises(AttributeError):
        GcraSettings(interval=1.0).interval = 2.0  # type: ignore[misc]  # the point of the test
