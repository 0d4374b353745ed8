"""What a browser says of the pages that it asks for, and who is told of those refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.gateway.notes import inward
from switchgear.gateway.settings import CsrfSettings, GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.http.headers import Headers
from switchgear.testing.virtual import run
from tests.support.gateway import House, public, said

pytestmark = pytest.mark.virtual

FORGED = {"cookie": "a=1", "sec-fetch-site": "cross-site", "origin": "https://evil.example"}


def house(*routes: RouteEntry, **fields: Any) -> tuple[House, list[tuple[str, str, int, str]]]:
    told: list[tuple[str, str, int, str]] = []
    doors = House(routes or (public("POST"),), settings=GatewaySettings(**fields))
    doors.door.refused = lambda *one: told.append(one)
    return doors, told


async def test_a_forged_request_is_refused_in_words_and_told_of() -> None:
    doors, told = house()
    call = doors.call("POST", "/a", FORGED)
    found = await doors.door.handler(call)
    assert (found.status, said(found)["reason"]) == (403, "cross-site")
    assert said(found)["detail"] == "A page of another site may not do this."
    assert doors.sent == []
    ((peer, reason, status, detail),) = told
    assert (peer, reason, status) == ("192.0.2.1", "cross-site", 403)
    assert detail == (
        "a page of the origin 'https://evil.example' (cross-site) sends POST with cookies"
    )
    assert call.trail.detail.startswith(detail)
    assert "gateway.origins" in call.trail.detail
    assert doors.out() == 0


async def test_one_that_is_observed_is_told_of_and_goes_on() -> None:
    doors, told = house(csrf=CsrfSettings("observe"))
    assert (await doors.ask("POST", "/a", FORGED)).status == 200
    assert [one[1:3] for one in told] == [("cross-site-observed", 0)]
    assert len(doors.sent) == 1


async def test_it_is_refused_before_its_token_is_looked_at() -> None:
    doors, told = house(RouteEntry("POST", "/a", "service"))
    bearing = {**FORGED, "authorization": "Bearer good"}
    assert (await doors.ask("POST", "/a", bearing)).status == 403
    assert doors.asked == []
    assert len(told) == 1


async def test_what_says_nothing_of_itself_makes_no_line_longer() -> None:
    doors, told = house()
    fields = {"cookie": "a=1", "sec-fetch-site": "x" * 999, "origin": "o" * 999}
    assert (await doors.ask("POST", "/a", fields)).status == 403
    assert len(told[0][3]) < 200


words = st.sampled_from([None, "same-origin", "none", "same-site", "cross-site", "", "Same-Origin"])
origins = st.sampled_from([None, "null", "https://a", "http://a", "https://b", ""])


@given(words, origins, st.booleans(), st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT"]))
def test_only_a_browser_is_ever_refused(
    site: str | None, origin: str | None, cookie: bool, method: str
) -> None:
    """Against the same said the other way round, word for word."""
    given_ = {"sec-fetch-site": site, "origin": origin, "cookie": "a=1" if cookie else None}
    fields = {name: value for name, value in given_.items() if value is not None}

    async def ask() -> tuple[int, int]:
        doors, told = house(public("*", "/a"))
        return (await doors.ask(method, "/a", fields)).status, len(told)

    status, told = run(ask())
    ours = site in ("same-origin", "none")
    elsewhere = origin not in (None, "https://a", "http://a") if site is None else not ours
    forged = cookie and elsewhere and method in ("POST", "PUT")
    assert status == (403 if forged else 200)
    assert told == forged
    assert inward(Headers(fields)).afar is (origin is not None if site is None else not ours)


@pytest.mark.parametrize("path", ["sso", "/a/{b", "/{rest...}/a", "/{a}/{a}"])
def test_an_exempt_path_is_one_that_a_route_could_have(path: str) -> None:
    with pytest.raises(ValueError, match=r"exempt is .* where paths of routes"):
        CsrfSettings(exempt=(path,))
