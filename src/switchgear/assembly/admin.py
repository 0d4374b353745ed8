"""The admin port: metrics and the state of everything, for who holds the token.

It listens where operators are (loopback by default) and trusts nobody for that: a bearer token
from a 0600 file, an exact Host (a browser lured to a name that resolves here is refused), no
CORS. Each answer is made of what every process says of itself.
"""

import errno
import os
import secrets
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from switchgear.assembly.failures import StartError, told
from switchgear.assembly.listen import address_of
from switchgear.assembly.office import supervised
from switchgear.assembly.pull import fan_out, merged_metrics
from switchgear.assembly.roles import Teller
from switchgear.assembly.settings import Settings
from switchgear.assembly.together import WHOLE
from switchgear.assembly.topology import State
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response, json_response
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["TOKEN_FILE", "Admin", "admin_token"]

TOKEN_FILE: Final = "admin.token"  # noqa: S105 - the file's name
_SHORTEST_TOKEN: Final = 32
_LONGEST_TOKEN: Final = 4096
_OPEN: Final = frozenset({"/health/live", "/health/ready"})
_DOORS: Final = frozenset({"gateway", WHOLE})
# Operators are few, and the supervisor needs its descriptors for other things. Public connections
# are other processes' affair: however many there are, this port has its own.
_FEW: Final = ServerSettings(connections=256, connections_per_address=128, idle_timeout=15.0)
_TEXT: Final = Headers({"content-type": "text/plain; version=0.0.4; charset=utf-8"})

Page = Callable[[], Awaitable[Response]]


def admin_token(data: Path) -> str:
    """Return the token of a data folder, made at first use, in a file that only its owner reads.

    Raises StartError for a file that somebody else could have written or read.
    """
    path = data / TOKEN_FILE
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
            _check(path, os.fstat(file.fileno()))
            token = file.read(_LONGEST_TOKEN).strip()
    except FileNotFoundError:
        return _new_token(path)
    except UnicodeDecodeError:
        raise _unfit(path, "it holds no text") from None
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else told(error)
        raise _unfit(path, why) from None
    if len(token) < _SHORTEST_TOKEN or not token.isascii():
        raise _unfit(path, "it holds no token of ours")
    return token


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _unfit(path, "it is no plain file")
    if found.st_uid != os.geteuid():
        raise _unfit(path, f"it belongs to the account {found.st_uid}, not to {os.geteuid()}")
    if found.st_mode & 0o077:
        raise _unfit(path, f"its mode is {stat.S_IMODE(found.st_mode):04o}, not 0600")


def _new_token(path: Path) -> str:
    """Make a token; its file is there whole or not at all."""
    token = secrets.token_urlsafe(32)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{token}\n")
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    return token


def _unfit(path: Path, why: str) -> StartError:
    remedy = "Remove it, and a new one is made"
    return StartError(f"the admin token {path} is not to be trusted: {why}. {remedy}")


class Hosts:
    """The Hosts that the port answers to, so that no name of a stranger's resolves to it.

    Where it listens on every address, any of those may be meant, and an address is no name.
    """

    def __init__(self, host: str, port: int) -> None:
        local = host in ("127.0.0.1", "[::1]")
        self._everywhere = host in ("0.0.0.0", "[::]")  # noqa: S104 - asked, not bound
        names = {"localhost"} if self._everywhere else {host, "localhost"} if local else {host}
        self._known = frozenset(f"{name}:{port}" for name in names)
        self._port = f":{port}"
        anywhere = [f"an address of this machine with {self._port}"] if self._everywhere else []
        self.told = ", ".join([*sorted(self._known), *anywhere])

    def has(self, given: str) -> bool:
        """Say whether a Host header names this port."""
        if given in self._known:
            return True
        if not self._everywhere or not given.endswith(self._port):
            return False
        try:
            ip_address(given.removesuffix(self._port).strip("[]"))
        except ValueError:
            return False
        return True


class Admin:
    """The admin server, beside the supervisor, or in a process that runs singly.

    Raises OSError where the token cannot be kept, StartError where it cannot be trusted.
    """

    def __init__(self, settings: Settings, office: Teller, sock: socket.socket) -> None:
        self._office = office
        self._sock = sock
        secret = settings.trust.admin_token
        self._token = admin_token(Path(settings.data)) if secret is None else secret.reveal()
        self._hosts = Hosts(*address_of(sock))
        self._server = Server(self._answer, _FEW, drive=Drive.PARKED)
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
        if not self._hosts.has(request.headers.get("host") or ""):
            raise Fault(
                Code.PERMISSION_DENIED,
                f"the Host is {request.headers.get('host')!r}",
                effect=Effect.NONE,
                extra={"status": 421},
                public=f"Ask for {self._hosts.told}.",
            )
        page = self._pages.get(request.path)
        if request.path not in _OPEN and not self._knows(request):
            raise Fault(
                Code.UNAUTHENTICATED,
                "no valid admin token",
                effect=Effect.NONE,
                public=f"This needs trust.admin_token, or else what {TOKEN_FILE} of the data says.",
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
                extra={"status": 405, "allow": ["GET", "HEAD"]},
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
        doors = [row for row in status.rows if row.role in _DOORS] or status.rows
        serving = any(row.state is State.READY for row in doors)
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
            if label.rpartition("-")[0] in (role, WHOLE)
        }
        heard = await fan_out(sockets, verb)
        body: dict[str, Any] = {"answers": heard.answers, "errors": heard.errors}
        return json_response(body)

    async def _metrics(self) -> Response:
        extra = supervised(self._office.status())
        return Response(200, _TEXT, await merged_metrics(self._office.sockets(), extra))
