"""Who the client is by address: the connection's peer, or what trusted proxies say before it."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from switchgear.http.headers import Headers

__all__ = ["ClientAddress", "network_of"]

_IPV6_PREFIX: Final = 64  # one customer's network: within it addresses cost nothing


class ClientAddress:
    """Walk the chain of X-Forwarded-For from the right, past every proxy that is trusted.

    Raises ValueError at construction for what is no CIDR.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted: list[IPv4Network | IPv6Network] = []
        for text in trusted:
            try:
                self._trusted.append(ip_network(text))
            except ValueError as error:
                raise ValueError(f"trusted proxy {text!r} is no network: {error}") from None

    def of(self, peer: str, headers: Headers) -> str:
        """Return the client's address: the first from the right that no trusted proxy has."""
        if not self._trusted or not self._trusts(peer):
            return peer
        client = peer
        for entry in reversed(headers.tokens("x-forwarded-for")):
            client = entry
            if not self._trusts(entry):
                break
        try:
            return str(ip_address(client))
        except ValueError:
            return peer  # a trusted proxy passed rubbish on: hold the proxy itself to the limit

    def trusts(self, peer: str) -> bool:
        """Say whether the peer may speak for others."""
        return bool(self._trusted) and self._trusts(peer)

    def _trusts(self, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return what a limit counts by: an IPv4 address itself, of an IPv6 address its /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed) >> _IPV6_PREFIX << _IPV6_PREFIX, _IPV6_PREFIX)))
