"""Where a PostgreSQL server is, and as whom to talk to it."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import msgspec

from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["Dsn"]

# What a URL may say besides, and is heeded: how to trust whom, and `options` as the server knows
# them. Any other would be passed over, and who wrote it would rely on it.
_HEEDED: Final = (
    "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "passfile",
    "options",
)  # fmt: skip
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_OURS: Final = ("application_name", "connect_timeout")  # what every connection has of ours


class Dsn(msgspec.Struct, frozen=True):
    """One server, database and role.

    `host` is a name, an address, or the absolute folder of a Unix socket. The password is
    left out of `repr`; only `url` shows it. `options` are the URL's further parameters (`sslmode`,
    `sslrootcert` and what else is heeded).
    """

    host: str
    port: int = 5432
    user: str = "postgres"
    password: str = ""
    database: str = "postgres"
    options: dict[str, str] = {}

    @classmethod
    def parse(cls, url: str) -> "Dsn":
        """Read a libpq URL: `postgresql://user:password@host:port/database?sslmode=...`.

        Raises a Fault (invalid_argument) that does not repeat the password.
        """
        try:
            parts = urlsplit(url)
        except ValueError:  # whose words may repeat the password
            raise _refused("it is no URL") from None
        if parts.scheme not in ("postgresql", "postgres"):
            raise _refused("it must start with postgresql://")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if "," in parts.netloc.rpartition("@")[2] or "," in query.get("host", ""):
            raise _refused("it names several hosts; write the one that leads to the primary")
        try:
            port = parts.port or int(query.pop("port", "5432"))
        except ValueError:
            raise _refused("its port is not a number up to 65535") from None
        host = query.pop("host", None) or unquote(parts.hostname or "") or "localhost"
        user = unquote(parts.username or "") or query.pop("user", "postgres")
        password = unquote(parts.password or "") or query.pop("password", "")
        database = unquote(parts.path.lstrip("/")) or query.pop("dbname", "") or user
        options = {name: value for name, value in query.items() if name not in _OURS}
        if unknown := sorted(options.keys() - {*_HEEDED}):
            heeded = ", ".join(_HEEDED)
            raise _refused(f"{unknown[0]!r} is not heeded here, what is: {heeded}")
        if options.get("sslmode", "prefer") not in _MODES:
            raise _refused(f"its sslmode must be one of {', '.join(_MODES)}")
        return cls(host, port, user, password, database, options)

    def url(self) -> str:
        """Return the libpq URL, password included."""
        login = quote(self.user, safe="")
        if self.password:
            login += ":" + quote(self.password, safe="")
        options = dict(self.options)
        if self.host.startswith("/"):
            options["host"] = self.host
            place = f":{self.port}"
        else:
            place = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        path = quote(self.database, safe="")
        return f"postgresql://{login}@{place}/{path}" + (f"?{query}" if query else "")

    def arguments(self) -> dict[str, Any]:
        """Return the connection arguments of asyncpg."""
        given: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "database": self.database,
        }
        if self.password:
            given["password"] = self.password
        if self.options:
            given["dsn"] = f"postgresql:///?{urlencode(self.options)}"
        return given

    def check_files(self) -> None:
        """Read the files that the URL names: of one that is not there, TLS says no name.

        Raises a Fault (invalid_argument) that names the parameter and the file.
        """
        for name, path in self.files.items():
            try:
                path.read_bytes()
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or "there is no such path"
                raise _refused(f"its {name}, {str(path)!r}, cannot be read: {why}") from None

    @property
    def files(self) -> dict[str, Path]:
        """The files that the URL names, by parameter."""
        return {name: Path(self.options[name]) for name in _FILES if self.options.get(name)}

    @property
    def place(self) -> str:
        """The server's address for messages: no user, no password."""
        if self.host.startswith("/"):
            return f"{self.host}/.s.PGSQL.{self.port}"
        return f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Dsn({self.user}@{self.place}/{self.database})"


def _refused(why: str) -> Fault:
    return Fault(
        Code.INVALID_ARGUMENT, f"the PostgreSQL URL is not valid: {why}", effect=Effect.NONE
    )
