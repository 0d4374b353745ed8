"""The admin port: metrics and the state of everything, for who holds the token.

It listens where operators are (loopback by default) and trusts nobody for that: a bearer token
from a 0600 file, an exact Host (a browser lured to a name that resolves here is refused), no
CORS. Each answer is made of what every process says of itself.
"""

import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final

from switchgear.assembly.listen import address_of
from switchgear.assembly.office import supervised
from switchgear.assembly.pull import fan_out, merged_metrics
from switchgear.assembly.roles import Office
from switchgear.assembly.settings import Settings
from switchgear.assembly.topology import State
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response, json_response
from switchgear.http.server import Drive, Server
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["TOKEN_FILE", "Admin", "admin_token"]

TOKEN_FILE: Final = "admin.token"  # noqa: S105 - the file's name
_OPEN: Final = frozenset({"/health/live", "/health/ready"})
_TEXT: Final = Headers({"content-type": "text/plain; version=0.0.4; charset=utf-8"})

Page = Callable[[], Awaitable[Response]]


def admin_token(data: Path) -> str:
    """Return the token of a data folder, made at first use, in a file that only its owner reads."""
    path = data / TOKEN_FILE
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        token = secrets.token_urlsafe(32)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{token}\n")
        return token


class Admin:
    """The admin server, beside the supervisor. Raises OSError where the token cannot be kept."""

    def __init__(self, settings: Settings, office: Office, sock: socket.socket) -> None:
        self._office = office
        self._sock = sock
        self._token = admin_token(Path(settings.data))
        host, port = address_of(sock)
        names = {host, "localhost"} if host in ("127.0.0.1", "::1") else {host}
        self._hosts = frozenset(f"{name}:{port}" for name in names)
        self._server = Server(self._answer, drive=Drive.PARKED)
        self._pages: Mapping[str, Page] = {
            "/health/live": self._live,
            "/health/ready": self._ready,
            "/status": self._status,
            "/upstreams": self._upstreams,
            "/consumers": self._consumers,
            "/metrics": self._metrics,
        }

    async def start(self) -> None:
        """Listen."""
        await self._server.start(self._sock)

    async def stop(self) -> None:
        """Listen no more."""
        await self._server.stop()

    async def _answer(self, call: Call[Request]) -> Response:
        request = call.payload
        if request.headers.get("host") not in self._hosts:
            raise Fault(
                Code.PERMISSION_DENIED,
                f"the Host is {request.headers.get('host')!r}",
                effect=Effect.NONE,
                extra={"status": 421},
                public=f"Ask for {', '.join(sorted(self._hosts))}.",
            )
        page = self._pages.get(request.path)
        if request.path not in _OPEN and not self._knows(request):
            raise Fault(
                Code.UNAUTHENTICATED,
                "no valid admin token",
                effect=Effect.NONE,
                public=f"This needs the token in the data folder's {TOKEN_FILE}.",
            )
        if page is None:
            raise Fault(
                Code.NOT_FOUND,
                f"the admin port has no {request.path}",
                effect=Effect.NONE,
                extra={"pages": sorted(self._pages)},
            )
        if request.method not in ("GET", "HEAD"):
            raise Fault(
                Code.UNIMPLEMENTED,
                f"{request.method} on the admin port",
                effect=Effect.NONE,
                extra={"status": 405, "allow": ["GET"]},
            )
        answer = await page()
        answer.headers = answer.headers.also({"cache-control": "no-store"})
        return answer

    def _knows(self, request: Request) -> bool:
        given = request.headers.get("authorization") or ""
        return compare_digest(given.encode("latin-1"), f"Bearer {self._token}".encode("latin-1"))

    async def _live(self) -> Response:
        return json_response({"status": "live"})

    async def _ready(self) -> Response:
        status = self._office.status()
        roles = {row.label: {"state": row.state.value, "degraded": row.degraded}
                 for row in status.rows}  # fmt: skip
        serving = any(row.state is State.READY and row.role == "gateway" for row in status.rows)
        body = {"status": "ready" if serving else "unready", "roles": roles}
        return json_response(body, 200 if serving else 503)

    async def _status(self) -> Response:
        return json_response(self._office.status())

    async def _upstreams(self) -> Response:
        return await self._asked("upstreams", "gateway")

    async def _consumers(self) -> Response:
        return await self._asked("consumers", "worker")

    async def _asked(self, verb: str, role: str) -> Response:
        """Pass a question to every process of a role."""
        sockets = {
            label: path
            for label, path in self._office.sockets().items()
            if label.rpartition("-")[0] == role
        }
        heard = await fan_out(sockets, verb)
        body: dict[str, Any] = {"answers": heard.answers, "errors": heard.errors}
        return json_response(body)

    async def _metrics(self) -> Response:
        extra = supervised(self._office.status())
        return Response(200, _TEXT, await merged_metrics(self._office.sockets(), extra))
