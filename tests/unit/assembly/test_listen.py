"""The public socket: which addresses are understood, and what is said of one that cannot be had."""

import socket

import pytest

from switchgear.assembly.failures import StartError
from switchgear.assembly.listen import address_of, bind


@pytest.mark.parametrize("host", ["::1", "[::1]", "0:0:0:0:0:0:0:1"])
def test_an_address_of_ipv6_may_be_in_brackets(host: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("platform: there is no IPv6")
    with bind(host, 0, 1) as sock:
        name, port = address_of(sock)
        assert name == "[::1]"  # as a URL has it, so that it can be given back
        with pytest.raises(StartError, match=r"listen on \[.*1\]:\d+ \(listen.port\): another"):
            bind(host, port, 1)


@pytest.mark.parametrize("host", ["[::1", "::1]", "[localhost", "no such host"])
def test_a_host_that_is_none_is_told_as_it_was_given(host: str) -> None:
    with pytest.raises(StartError) as refused:
        bind(host, 0, 1)
    assert host in refused.value.sentence
