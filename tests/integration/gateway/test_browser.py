"""What a real browser makes of it: pages of this host, of a listed origin, and of any other."""

import asyncio
import json
import os
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.middleware.cors import CORSMiddleware

from switchgear.gateway.settings import CorsSettings, GatewaySettings
from tests.support.bodies import quick, standing

pytestmark = pytest.mark.timeout(120)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FORM = "<form method=post action=/form></form><script>document.forms[0].submit()</script>"
PAGE = """<pre id=told>nothing</pre><script>
const told = {}, at = "http://localhost:%d", all = {credentials: "include"};
const ask = async (name, path, how) => {
  try {
    const got = await fetch(at + path, how);
    told[name] = [got.status, got.headers.get("x-total"), await got.text()];
  } catch (error) { told[name] = String(error); }
};
(async () => {
  await ask("enter", "/enter", {mode: "no-cors", ...all});
  await ask("form", "/spend", {method: "POST", mode: "no-cors", ...all});
  await ask("read", "/read", all);
  await ask("put", "/spend", {method: "PUT", body: "{}", ...all,
                              headers: {"content-type": "application/json", "x-own": "1"}});
  await ask("nothing", "/nothing/at/all", all);
  document.getElementById("told").textContent = JSON.stringify(told);
})();
</script>"""


def bank(calls: list[str]) -> FastAPI:
    """An application that goes by cookies."""
    app = FastAPI()

    @app.get("/enter")
    async def enter(response: Response) -> None:
        response.set_cookie("session", "ada")

    @app.get("/page", response_class=HTMLResponse)
    async def page() -> str:
        return FORM

    @app.api_route("/{what}", methods=["GET", "POST", "PUT"])
    async def spend(what: str, request: Request, response: Response) -> str:
        calls.append(f"{request.method} {what} {request.cookies.get('session', '-')}")
        response.headers["x-total"] = "9"
        return what

    return app


async def shown(folder: Path, url: str) -> str:
    """Open a page in a browser of its own, and return what it shows at the end."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on the PATH")
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}",
        "--host-resolver-rules=MAP plain.example 127.0.0.1", "--virtual-time-budget=20000",
        "--dump-dom", url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode()


class Elsewhere:
    """Somebody else's server, on a port of its own: another origin of the same site."""

    def __init__(self) -> None:
        self.gateway = 0  # the port that its page asks

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer anything by the page."""
        await reader.readuntil(b"\r\n\r\n")
        body = (PAGE % self.gateway).encode()
        head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/html\r\n"
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()


async def visited(tmp_path: Path, app: Any, *, listed: bool) -> dict[str, Any]:
    """Have somebody look at the page of somebody else; return what its script could find out."""
    other = Elsewhere()
    server = await asyncio.start_server(other.serve, "127.0.0.1", 0)
    page = f"http://localhost:{server.sockets[0].getsockname()[1]}"
    asked = GatewaySettings(origins=(page,), cors=CorsSettings(credentials=True))
    settings = quick(gateway=asked if listed else GatewaySettings())
    try:
        async with standing(tmp_path, app, "service", "gateway", settings=settings) as stand:
            other.gateway = stand.port
            found = await shown(tmp_path / "profile", page)
    finally:
        server.close()
        await server.wait_closed()
    told = re.search(r'<pre id="told">(.*?)</pre>', found, re.DOTALL)
    assert told is not None, found
    return dict(json.loads(unescape(told[1])))


LOST = "TypeError: Failed to fetch"


async def test_a_page_that_is_not_listed_spends_no_cookies_and_reads_nothing(
    tmp_path: Path,
) -> None:
    calls: list[str] = []
    told = await visited(tmp_path, bank(calls), listed=False)
    assert calls == ["GET read ada"]  # a read that it cannot read
    assert {told[name] for name in ("form", "read", "put", "nothing")} == {LOST}


async def test_a_page_that_is_listed_calls_and_reads(tmp_path: Path) -> None:
    calls: list[str] = []
    told = await visited(tmp_path, bank(calls), listed=True)
    assert calls == ["POST spend ada", "GET read ada", "PUT spend ada"]
    assert told["form"] == [0, None, ""]  # it did not ask to read
    assert told["read"] == [200, "9", '"read"']
    assert told["put"] == [200, "9", '"spend"']
    status, _, problem = told["nothing"]
    assert (status, json.loads(problem)["detail"]) == (404, "Not Found")


async def test_what_an_application_says_of_cors_is_said_once(tmp_path: Path) -> None:
    """Of two values, the same twice even, a browser would believe none."""
    calls: list[str] = []
    app = CORSMiddleware(bank(calls), allow_origins=["*"])
    told = await visited(tmp_path, app, listed=True)
    assert told["put"] == [200, "9", '"spend"']


async def test_without_origins_an_application_says_it_itself(tmp_path: Path) -> None:
    calls: list[str] = []
    app = CORSMiddleware(
        bank(calls), allow_origin_regex="http://localhost:.*", allow_credentials=True,
        expose_headers=["x-total"],
    )  # fmt: skip
    told = await visited(tmp_path, app, listed=False)
    assert told["read"] == [200, "9", '"read"']
    assert calls == ["GET read ada"]  # what bears cookies changes nothing all the same


@pytest.mark.parametrize("host", ["localhost", "plain.example"])
async def test_a_form_of_this_host_goes_on(tmp_path: Path, host: str) -> None:
    """In the clear a browser has nothing but Origin to say whose page it is."""
    calls: list[str] = []
    async with standing(tmp_path, bank(calls), "service", "gateway") as stand:
        found = await shown(tmp_path / "profile", f"http://{host}:{stand.port}/page")
    assert calls == ["POST form -"], found
