"""Where a PostgreSQL server is, and as whom to talk to it."""

from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import msgspec

from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["Dsn"]


class Dsn(msgspec.Struct, frozen=True):
    """One server, database and role.

    `host` is a name, an address, or the absolute folder of a Unix socket. The password is
    left out of `repr`; only `url` shows it. `options` are the URL's further parameters (`sslmode`).
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
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres"):
            raise _refused("it must start with postgresql://")
        try:
            port = parts.port
        except ValueError:
            raise _refused("its port is not a number up to 65535") from None
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        host = query.pop("host", None) or unquote(parts.hostname or "") or "localhost"
        user = unquote(parts.username or "") or query.pop("user", "postgres")
        return cls(
            host=host,
            port=port or int(query.pop("port", "5432")),
            user=user,
            password=unquote(parts.password or "") or query.pop("password", ""),
            database=unquote(parts.path.lstrip("/")) or query.pop("dbname", "") or user,
            options=query,
        )

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
        if "sslmode" in self.options:
            given["ssl"] = self.options["sslmode"]
        return given

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
