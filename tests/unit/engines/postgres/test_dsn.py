"""Where a server is: read from a URL, written as one, and never with the password in a message."""

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.engines.postgres.dsn import Dsn
from switchgear.policy.fault import Fault

names = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())


@given(user=names, password=names, database=names, port=st.integers(1, 65535))
@pytest.mark.parametrize("host", ["db.example", "127.0.0.1", "::1", "/run/pg folder"])
def test_a_url_reads_back_as_what_it_was(
    host: str, user: str, password: str, database: str, port: int
) -> None:
    dsn = Dsn(host, port, user, password, database, {"sslmode": "require"})
    assert Dsn.parse(dsn.url()) == dsn


def test_the_password_is_not_shown() -> None:
    assert "hush" not in repr(Dsn("h", password="hush"))
    with pytest.raises(Fault) as refused:
        Dsn.parse("postgresql://u:hush@h:port/d")
    assert "hush" not in refused.value.detail


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://h/d", "start with postgresql://"),
        ("h:5432", "start with postgresql://"),
        ("", "start with postgresql://"),
        ("postgresql://h:99999/d", "port is not a number"),
        ("postgresql:///d?host=h&port=x", "port is not a number"),
        ("postgresql://u:p,w@a:1,b:2/d", "several hosts"),
        ("postgresql:///d?host=a,b", "several hosts"),
        ("postgresql://h/d?sslmode=strict", "sslmode must be one of disable, .*, verify-full"),
        ("postgresql://h/d?channel_binding=require", "'channel_binding' is not heeded.* sslmode"),
        ("postgresql://h/d?sslrotcert=ca.pem", "'sslrotcert' is not heeded"),
    ],
)
def test_what_is_no_url_is_refused(url: str, why: str) -> None:
    with pytest.raises(Fault, match=f"PostgreSQL URL is not valid: .*{why}"):
        Dsn.parse(url)


async def test_what_a_url_says_besides_is_heeded() -> None:
    """A certificate that was passed over would be a server that nobody checked."""
    said = "sslmode=verify-ca&sslrootcert=/nowhere/ca.pem&options=-c%20jit%3Doff"
    dsn = Dsn.parse(f"postgresql://u:p%2Cw@127.0.0.1:1/d?{said}&connect_timeout=5")
    assert dsn.password == "p,w"
    assert Dsn.parse(dsn.url()) == dsn
    with pytest.raises(FileNotFoundError):
        await asyncpg.connect(**dsn.arguments())


def test_defaults() -> None:
    assert Dsn.parse("postgres://u@h") == Dsn("h", 5432, "u", "", "u")
    assert Dsn.parse("postgresql:///d?host=/tmp&port=6000").place == "/tmp/.s.PGSQL.6000"
