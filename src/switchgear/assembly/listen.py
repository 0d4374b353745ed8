"""The one public listening socket: bound once by the supervisor, inherited by every gateway.

No SO_REUSEPORT: with it each process owns a queue of its own, and a killed or stopped owner takes
the connections in it along. With one shared queue, whoever lives accepts.
"""

import errno
import socket
from typing import Final

from switchgear.assembly.failures import StartError, told

__all__ = ["address_of", "bind"]

_HINTS: Final = {
    errno.EADDRINUSE: "another program has it; choose another port or end that program",
    errno.EACCES: "this needs more rights; ports below 1024 belong to root",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


def bind(host: str, port: int, backlog: int, *, setting: str = "listen") -> socket.socket:
    """Bind and listen. An IPv6 address may be in brackets, as it is where a port follows.

    Raises:
        StartError: it cannot; the sentence names the address, the reason and the setting.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    where = f"[{bare}]:{port}" if ":" in bare else f"{host}:{port}"
    try:
        found = socket.getaddrinfo(
            bare, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except (socket.gaierror, UnicodeError) as error:
        why = told(error) if isinstance(error, OSError) else "this is no name of a host"
        raise StartError(f"cannot listen on {where} ({setting}.host): {why}") from None
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        hint = _HINTS.get(error.errno or 0, told(error))
        which = "host" if error.errno == errno.EADDRNOTAVAIL else "port"
        raise StartError(f"cannot listen on {where} ({setting}.{which}): {hint}") from None
    sock.setblocking(False)
    return sock


def address_of(sock: socket.socket) -> tuple[str, int]:
    """Return the host and port that a socket is bound to; a host as a URL writes it."""
    host, port = sock.getsockname()[:2]
    return (f"[{host}]" if ":" in host else host), port
