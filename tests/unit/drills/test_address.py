"""Addresses as they are written on command lines."""

import pytest

from switchgear.drills.address import Address


@pytest.mark.parametrize("text", ["127.0.0.1:80", "localhost:0", "[::1]:8080", "unix:/tmp/a.sock"])
def test_an_address_reads_back_as_it_was_written(text: str) -> None:
    assert str(Address.parse(text)) == text
    assert Address.parse(text).local


@pytest.mark.parametrize("text", ["", "80", ":80", "host", "host:http", "host:70000", "unix:"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither host:port|above 65535"):
        Address.parse(text)


def test_another_machine_is_not_local() -> None:
    assert not Address.parse("192.0.2.1:80").local
