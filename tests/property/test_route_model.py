"""The router against a plain walk over the list of routes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.policy.route import Found, NoMethod, NoRoute, Route, Router

literals = st.sampled_from(["a", "b", ""])
templates = st.builds(
    lambda segments, rest: "/" + "/".join([*segments, *rest]),
    st.lists(st.one_of(literals, st.just("{}")), min_size=1, max_size=4),
    st.sampled_from([[], [], ["{rest...}"]]),
)
methods = st.sampled_from(["GET", "PUT", "*"])


def named(template: str) -> str:
    """Give each parameter of a template a name of its own, by its place."""
    return "/".join(
        f"{{p{place}}}" if segment == "{}" else segment
        for place, segment in enumerate(template.split("/"))
    )


def fit(template: str, path: str) -> tuple[list[int], dict[str, str]] | None:
    """Return how literal each segment fits, the most literal being the least, and the values."""
    kinds: list[int] = []
    values: dict[str, str] = {}
    wanted, given_ = template.split("/"), path.split("/")
    for place, segment in enumerate(wanted):
        if place == len(given_):
            return None
        if segment == "{rest...}":
            values["rest"] = "/".join(given_[place:])
            return [*kinds, 2], values
        if segment.startswith("{"):
            if not given_[place]:
                return None
            values[segment[1:-1]] = given_[place]
            kinds.append(1)
        elif segment == given_[place]:
            kinds.append(0)
        else:
            return None
    return (kinds, values) if len(wanted) == len(given_) else None


@settings(max_examples=400, deadline=None)
@given(
    shapes=st.lists(
        st.tuples(methods, templates), max_size=12, unique_by=lambda shape: (shape[0], shape[1])
    ),
    path=st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=6).map(
        lambda segments: "/" + "/".join(segments)
    ),
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST"]),
)
def test_the_router_finds_what_the_list_finds(
    shapes: list[tuple[str, str]], path: str, method: str
) -> None:
    routes = [
        Route(verb, named(template), number) for number, (verb, template) in enumerate(shapes)
    ]
    match = Router(routes).match(method, path)
    fitting = [(fits, route) for route in routes if (fits := fit(route.path, path)) is not None]
    wanted = [method, *(["GET"] if method == "HEAD" else []), "*"]
    able = [entry for entry in fitting if entry[1].method in wanted]
    if able:
        (_, values), best = min(
            able, key=lambda entry: (entry[0][0], wanted.index(entry[1].method))
        )
        assert isinstance(match, Found)
        assert match.route == best
        assert match.params == values
    elif fitting:
        allow = {route.method for _, route in fitting}
        assert match == NoMethod(tuple(sorted(allow | ({"HEAD"} if "GET" in allow else set()))))
    else:
        assert match == NoRoute()
