"""`./dev bench proxy` and `scale`: the gateway is the real one, and what it did not do is seen."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench._harness.load import Asked
from bench._harness.rounds import Load, Measured, measure
from bench._harness.servers import Contender, Missing, running
from bench._harness.table import Aim, print_aims, print_measured
from bench.proxy.__main__ import checking
from bench.proxy.contenders import contenders
from bench.proxy.gateway import Identity, gateway, identity
from bench.proxy.upstream import LARGE_BYTES, SMALL, upstream
from bench.rest.checks import asked
from bench.scale.idle import held_open

pytestmark = pytest.mark.skipif(
    shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin") is None,
    reason="nginx is not installed",
)

BRIEF = Load(1, 1, 8, 0)
SMALL_ASKED = Asked("GET", "/small")


@contextmanager
def behind(who: Identity) -> Iterator[int]:
    made = upstream(who.keys)
    assert isinstance(made, Contender)
    with running(made, None) as place:
        yield place.port


def named(*names: str, port: int, who: Identity) -> list[Contender | Missing]:
    return [one for one in contenders(who, port, large=True) if one.name in names]


def test_the_gateway_counts_as_many_of_everything_as_it_was_asked() -> None:
    who = identity()
    with behind(who) as port:
        whole = gateway("whole", who, port)
        measured = measure([whole], SMALL_ASKED, BRIEF, check=checking("/small", len(SMALL)))
    assert not measured.reasons
    assert measured.figures["whole"].invalid == ""
    assert measured.figures["whole"].errors == 0
    counted = measured.rows["whole"][0].counted
    gates = {"address limit", "principal limit", "breakers"}
    assert set(counted) == {"requests", "tokens", "metrics", "log lines", *gates}
    assert len(set(counted.values())) == 1


def test_a_gateway_that_writes_no_log_is_invalid(capsys: pytest.CaptureFixture[str]) -> None:
    who = identity()
    with behind(who) as port:
        silent = gateway("silent", who, port, more='[log]\nlevel = "warning"\n')
        measured = measure([silent], SMALL_ASKED, BRIEF)
    assert not measured.reasons
    print_measured("here", measured)
    print_aims(measured, [Aim("silent", "silent", 1.0)])
    said = capsys.readouterr().out
    assert "log lines 0" in measured.figures["silent"].invalid
    assert "INVALID: silent: not counted alike" in said
    assert "aim not judged: silent" in said


def test_a_token_that_nobody_signed_gives_no_figures() -> None:
    who, stranger = identity(), identity()
    with behind(who) as port:
        wrong = gateway("wrong", stranger, port)
        measured = measure([wrong], SMALL_ASKED, BRIEF, check=checking("/small", len(SMALL)))
    assert "it answered 401" in measured.reasons["wrong"]


@pytest.mark.slow
def test_proxies_give_what_is_behind_them_small_and_large() -> None:
    who = identity()
    measured: list[Measured] = []
    with behind(who) as port:
        wanted = named("ours, http alone", "nginx", "nginx, unbuffered", port=port, who=who)
        assert len(wanted) == 3
        for path, size in (("/small", len(SMALL)), ("/large", LARGE_BYTES)):
            measured.append(measure(wanted, Asked("GET", path), BRIEF, check=checking(path, size)))
    for each in measured:
        assert len(each.figures) == 3, each.reasons
        assert all(one.errors == 0 for one in each.figures.values())


def test_connections_are_held_open_and_routes_are_asked_in_turn() -> None:
    who = identity()
    with behind(who) as port:
        many = gateway(
            "many", who, port, routes=30, asked=Asked("GET", "/things<n>/7/parts", among=30)
        )
        with running(many, None) as place:
            with held_open(place.port, 120, "/small", many.headers):
                assert asked(place.port, "GET", "/things29/7/parts", b"", many.headers)[0] == 200
                assert asked(place.port, "GET", "/things30/7/parts", b"", many.headers)[0] == 404
            with (
                pytest.raises(RuntimeError, match="could not be held open: after 0"),
                held_open(place.port, 10, "/nowhere", many.headers),
            ):
                pass
        measured = measure([many], SMALL_ASKED, BRIEF, check=checking("/small", len(SMALL)))
    assert not measured.reasons
    assert measured.figures["many"].invalid == ""
    assert measured.figures["many"].errors == 0
