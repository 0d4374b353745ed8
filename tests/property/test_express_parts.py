"""What the express way does by short cuts is what the long way would have done."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from switchgear.policy.balance import PeakEwma, PeakEwmaBalancer
from switchgear.policy.bucket import BucketSettings, TokenBucket
from switchgear.policy.gate import Ask, Permit
from switchgear.policy.route import Found, Route, Router
from switchgear.policy.verdict import GOOD

asks = st.tuples(
    st.sampled_from([0.0, 0.0, 0.1, 0.25, 1.0, 9.0]), st.sampled_from("abcd"), st.booleans()
)


@given(st.lists(asks, max_size=60), st.integers(1, 5))
def test_to_pay_the_price_is_to_be_admitted(
    history: list[tuple[float, str, bool]], room: int
) -> None:
    """Who would be refused pays nothing and is refused, in the same order of who is remembered."""
    settings = BucketSettings(rate=2.0, burst=3.0, keys=room)
    asked, priced = TokenBucket("x", settings), TokenBucket("x", settings)
    now = 10.0
    for passed, key, looks in history:
        now += passed
        if looks:
            priced.price(key, now)  # without paying: that changes nothing
        got = asked.admit(Ask(key), now)
        if isinstance(got, Permit):
            asked.settle(got, GOOD, now)
        price = priced.price(key, now)
        assert (price is None) is not isinstance(got, Permit)
        if price is None:
            assert priced.admit(Ask(key), now) == got
        else:
            priced.pay(key, price, now)
        assert priced.statistics() == asked.statistics()
        assert list(priced._table.items()) == list(asked._table.items())
        assert [priced.left(each, now) for each in "abcd"] == [
            asked.left(each, now) for each in "abcd"
        ]


SEGMENTS = ("a", "b", "{x}", "{y}", "", "a.b")
METHODS = ("GET", "POST", "*", "HEAD")
templates = st.tuples(
    st.sampled_from(METHODS),
    st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4),
    st.booleans(),
)
paths = st.lists(st.sampled_from(["a", "b", "c", "", "a.b", "{x}"]), min_size=1, max_size=6)


def table(drawn: list[tuple[str, list[str], bool]]) -> Router[int]:
    """Make a router of those templates that do not claim what others have."""
    routes: list[Route[int]] = []
    for number, (method, parts, rest) in enumerate(drawn):
        named = [f"{{p{at}}}" if part.startswith("{") else part for at, part in enumerate(parts)]
        route = Route(method, "/" + "/".join([*named, *(["{rest...}"] if rest else [])]), number)
        try:
            Router([*routes, route])
        except ValueError:
            continue
        routes.append(route)
    return Router(routes)


@given(
    st.lists(templates, max_size=8),
    st.lists(st.tuples(st.sampled_from([*METHODS, "PUT"]), paths), min_size=1, max_size=8),
)
def test_a_path_leads_where_it_matches(
    drawn: list[tuple[str, list[str], bool]], asked: list[tuple[str, list[str]]]
) -> None:
    router = table(drawn)
    for method, parts in asked:
        path = "/" + "/".join(parts)
        found = router.match(method, path)
        assert router.lead(method, path) == (
            found.route.value if isinstance(found, Found) else found
        )


class Endpoint:
    """A process that is well, and old."""

    def __init__(self, name: str, took: float, in_flight: int) -> None:
        self.name = name
        self.in_flight = in_flight
        self.ewma = PeakEwma()
        if took:
            self.ewma.observe(took, 100.0)

    def available(self, now: float) -> bool:
        return True


loads = st.lists(
    st.tuples(st.sampled_from([0.0, 0.01, 0.5]), st.integers(0, 3)), min_size=1, max_size=5
)


@given(loads, st.integers(0, 1000))
def test_where_all_are_well_a_swift_choice_is_the_usual_one(
    drawn: list[tuple[float, int]], seed: int
) -> None:
    endpoints = [Endpoint(str(n), *each) for n, each in enumerate(drawn)]
    usual = PeakEwmaBalancer(random=Random(seed).random)
    swift = PeakEwmaBalancer(random=Random(seed).random)
    for _ in range(4):
        pick = usual.pick(endpoints, 101.0)
        assert pick is not None
        assert not pick.panic
        assert swift.swift(endpoints, 101.0) is pick.endpoint
