"""Whose address a request is counted by: what strangers write is not believed."""

import pytest

from switchgear.gateway.client_address import ClientAddress
from switchgear.http.headers import Headers
from switchgear.http.limits import network_of

PROXIES = ("10.0.0.0/8", "2001:db8:ffff::/48")


def of(peer: str, *forwarded: str, trusted: tuple[str, ...] = PROXIES) -> str | None:
    headers = Headers([("x-forwarded-for", value) for value in forwarded])
    return ClientAddress(trusted).of(peer, headers)


def test_only_a_trusted_peer_speaks_for_others() -> None:
    assert of("192.0.2.7", "203.0.113.9") is None
    assert of("10.0.0.1", "203.0.113.9") == "203.0.113.9"
    assert of("10.0.0.1", "203.0.113.9", trusted=()) is None
    assert of("unix", "203.0.113.9") is None


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        (("203.0.113.9",), "203.0.113.9"),
        (("1.1.1.1, 203.0.113.9",), "203.0.113.9"),  # the left of it is the client's own claim
        (("1.1.1.1, 203.0.113.9, 10.0.0.2, 10.9.9.9",), "203.0.113.9"),
        (("1.1.1.1", "203.0.113.9", "10.0.0.2"), "203.0.113.9"),  # several lines are one list
        (("10.0.0.3, 10.0.0.2",), "10.0.0.3"),  # one of ours asks
        ((), "10.0.0.1"),
        (("",), "10.0.0.1"),
    ],
)
def test_the_chain_is_walked_from_the_right(chain: tuple[str, ...], client: str) -> None:
    assert of("10.0.0.1", *chain) == client


RUBBISH = ("", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "<script>", "2001:db8::1::2",
           "999.1.1.1", "\xe9", "1.2.3.4:", "[::1")  # fmt: skip


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_behind_rubbish_nothing_is_believed(rubbish: str) -> None:
    assert of("10.0.0.1", f"203.0.113.9, {rubbish}, 10.0.0.2") == "10.0.0.2"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_one_client_has_one_name(written: str, read: str) -> None:
    assert of("10.0.0.1", written) == read


def test_a_proxy_does_not_escape_its_network_by_spelling() -> None:
    assert of("::ffff:10.0.0.1", "203.0.113.9, ::ffff:10.0.0.2") == "203.0.113.9"
    assert of("2001:db8:ffff::5", "203.0.113.9") == "203.0.113.9"


def test_a_network_is_the_same_however_it_is_spelled() -> None:
    clients = ClientAddress(["::ffff:10.0.0.0/104"])
    assert clients.trusts("10.0.0.1")
    assert clients.trusts("::ffff:10.1.1.1")
    assert not clients.trusts("11.0.0.1")
    assert not ClientAddress(["::/0"]).trusts("10.0.0.1")


def test_clients_behind_a_translator_are_told_apart() -> None:
    """RFC 6052: who comes over IPv4 to a server that has IPv6 alone has such an address."""
    one, other = (of("10.0.0.1", f"64:ff9b::203.0.113.{last}") for last in (9, 10))
    assert network_of(str(one)) == "203.0.113.9"
    assert network_of(str(other)) == "203.0.113.10"
    # He is counted as what he is, and is no more believed for it.
    assert not ClientAddress(["10.0.0.0/8"]).trusts("64:ff9b::10.0.0.1")


def test_what_is_no_network_is_refused_with_its_text() -> None:
    with pytest.raises(ValueError, match=r"trusted proxy '10.0.0.1/8' is no network: .*host bits"):
        ClientAddress(["10.0.0.1/8"])


def test_an_ipv6_customer_is_counted_by_its_network() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::") == "2001:db8:1:2::/64"
    assert network_of("2001:db8:1:3::1") != network_of("2001:db8:1:2::1")
    assert network_of("203.0.113.9") == "203.0.113.9"
    assert network_of("::ffff:203.0.113.9") == "203.0.113.9"
    assert network_of("unix") == "unix"
