"""Pages of other sites at a gateway that runs: what is counted and logged of those refused."""

from pathlib import Path

import pytest

from switchgear.gateway.settings import CsrfSettings, GatewaySettings
from switchgear.telemetry.exposition import render
from tests.integration.gateway.test_through import Work, community, get, post, problem
from tests.support.bodies import Stand, quick, standing

pytestmark = pytest.mark.timeout(60)

FORGED = ("Cookie: session=ada", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example")


def counted(stand: Stand, reason: str) -> int:
    """Read the gateway's counter as whoever scrapes it does."""
    (door,) = [one for one in stand.running if one.context.name == "gateway"]
    page = render({"gateway-1": door.context.registry.snapshot()}).decode()
    series = f'http_refusals_total{{process="gateway-1",reason="{reason}"}} '
    (line,) = [line for line in page.splitlines() if line.startswith(series)]
    return int(line.rpartition(" ")[2])


async def test_a_refusal_is_answered_counted_and_logged(tmp_path: Path) -> None:
    work = Work()
    async with standing(tmp_path, community(work), "service", "gateway") as stand:
        found = await post(stand, "/notes", b'{"text": "1"}', *FORGED)
        assert (found.status, problem(found)["reason"]) == (403, "cross-site")
        assert counted(stand, "cross-site") == 1
        (line,) = stand.logged("turned_away")
        assert (line["peer"], line["status"], line["reason"]) == ("127.0.0.1", 403, "cross-site")
        (request,) = stand.logged("request")
        assert request["detail"].startswith(line["detail"])
        assert "gateway.csrf.exempt" in request["detail"]
        assert work.calls == []
        # A browser's own page, and what is no browser, are not concerned.
        for lines in (("Cookie: session=ada",), ("Cookie: a=1", "Sec-Fetch-Site: same-origin")):
            assert (await post(stand, "/notes", b'{"text": "2"}', *lines)).status == 201
        assert work.calls == ["2", "2"]
        assert counted(stand, "cross-site") == 1


async def test_what_is_observed_is_counted_apart(tmp_path: Path) -> None:
    settings = quick(gateway=GatewaySettings(csrf=CsrfSettings("observe")))
    async with standing(
        tmp_path, community(Work()), "service", "gateway", settings=settings
    ) as stand:
        assert (await post(stand, "/notes", b'{"text": "1"}', *FORGED)).status == 201
        assert (counted(stand, "cross-site"), counted(stand, "cross-site-observed")) == (0, 1)


async def test_a_listed_page_can_read_why_a_service_failed(tmp_path: Path) -> None:
    page = ("Origin: https://app.example", "Sec-Fetch-Site: cross-site")
    settings = quick(gateway=GatewaySettings(origins=("https://app.example",)))
    async with standing(
        tmp_path, community(Work()), "service", "gateway", settings=settings
    ) as stand:
        for path, status in (
            ("/broken", 500),
            ("/refusing", 503),
            ("/mine", 401),
            ("/shop/x", 404),
        ):
            found = await get(stand, path, *page)
            assert (found.status, found.headers["access-control-allow-origin"]) == (
                status,
                "https://app.example",
            )
        asks = (
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: content-type",
        )
        found = await get(stand, "/notes", *page, *asks, method="OPTIONS")
        assert (found.status, found.body) == (204, b"")
        assert found.headers["access-control-allow-methods"] == "POST"
        assert found.headers["access-control-allow-headers"] == "content-type"
        other = ("Origin: https://evil.example", *asks)
        assert (await get(stand, "/notes", *other, method="OPTIONS")).status == 403
        assert counted(stand, "origin") == 1
