"""Who the client is by address: the connection's peer, or what trusted proxies say before it."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from switchgear.http.headers import Headers

__all__ = ["ClientAddress", "networks"]

_PORT: Final = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
_MAPPED: Final = 96  # bits before an IPv4 address that IPv6 carries

Address = IPv4Address | IPv6Address


class ClientAddress:
    """Walk the chain of X-Forwarded-For from the right, past every proxy that is trusted.

    Raises ValueError at construction for what is no CIDR.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted = networks(trusted)

    def of(self, peer: str, headers: Headers) -> str | None:
        """Return the client behind `peer`: the first from the right that is no trusted proxy.

        None where the peer itself is not trusted to speak for others. What stands before an entry
        that cannot be read is not believed: the trusted proxy that passed it on is the client then.
        """
        client = _read(peer) if self._trusted else None
        if client is None or not self._is_trusted(client):
            return None
        for entry in reversed(headers.tokens("x-forwarded-for")):
            address = _read(entry)
            if address is None:
                break
            client = address
            if not self._is_trusted(client):
                break
        return str(client)

    def trusts(self, peer: str) -> bool:
        """Say whether a peer is a trusted proxy, and so stands for many clients."""
        address = _read(peer) if self._trusted else None
        return address is not None and self._is_trusted(address)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def networks(written: Sequence[str]) -> list[IPv4Network | IPv6Network]:
    """Read CIDRs. Raises ValueError, with the one that is none.

    A network of IPv4 that is written as IPv6 carries it is that of IPv4, as its addresses are.
    """
    read = []
    for text in written:
        try:
            network = ip_network(text)
        except ValueError as error:
            raise ValueError(f"trusted proxy {text!r} is no network: {error}") from None
        first = network.network_address
        if isinstance(first, IPv6Address) and first.ipv4_mapped and network.prefixlen >= _MAPPED:
            network = IPv4Network((first.ipv4_mapped, network.prefixlen - _MAPPED))
        read.append(network)
    return read


@lru_cache(maxsize=4096)
def _read(text: str) -> Address | None:
    """Read an address, with or without a port (some proxies write it); None for anything else.

    An IPv4 address that IPv6 carries is that IPv4 address: else it would escape its networks.
    """
    ported = _PORT.fullmatch(text)
    if ported is not None:
        text = ported[1] or ported[2] or ""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.scope_id is not None:
            return IPv6Address(int(address))
    return address
