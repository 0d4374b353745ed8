"""A client's text in a header of an answer: what breaks out of its line is that request's alone."""

from pathlib import Path

import pytest

from tests.e2e.running import Running

APP = """
from switchgear import App, Response

app = App("toys")


@app.get("/named", public=True)
async def named(name: str) -> Response:
    return Response(200, {"content-disposition": f"attachment; filename={name}"}, b"here")
"""


@pytest.mark.parametrize("name", ["a%0D%0Aset-cookie:b", "%E4%B8%AD"])
def test_a_client_cannot_open_the_breaker_for_others_by_it(
    tmp_path: Path, home: Path, name: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    data = home / f"data-{len(name)}"
    with Running.started("up", str(tmp_path), data, "--set=processes.gateways=1") as system:
        for _ in range(12):
            answer = system.ask("GET", f"/named?name={name}")
            assert (answer.status, answer.json["code"]) == (500, "internal")
            assert answer.json["detail"] == "Something went wrong on our side."
            assert "set-cookie" not in answer.headers
        assert system.ask("GET", "/named?name=b").status == 200
        told = system.until(lambda: system.events("defect"))  # lines are written in batches
        assert "UnwritableError" in told[0]["traceback"]
        assert "cannot be sent" in told[0]["traceback"]
