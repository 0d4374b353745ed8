"""Where a server is: read from a URL, written as one, and never with the password in a message."""

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


@pytest.mark.parametrize("url", ["mysql://h/d", "h:5432", "", "postgresql://h:99999/d"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(Fault, match="PostgreSQL URL is not valid"):
        Dsn.parse(url)


def test_defaults() -> None:
    assert Dsn.parse("postgres://u@h") == Dsn("h", 5432, "u", "", "u")
    assert Dsn.parse("postgresql:///d?host=/tmp&port=6000").place == "/tmp/.s.PGSQL.6000"
