"""The figures of the edge: limits of size and of time, each with its default."""

from typing import Annotated

import msgspec

__all__ = ["ClientSettings", "ServerSettings", "SocketSettings", "TlsSettings"]

# What a configuration may say: held where it is decoded, and no other way to make one is asked.
Time = Annotated[float, msgspec.Meta(gt=0)]
Span = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Amount = Annotated[int, msgspec.Meta(ge=0)]


class ServerSettings(msgspec.Struct, frozen=True):
    """What one server accepts from its clients. Durations are seconds.

    `body_bytes` is the ceiling of any request body; a handler may ask for less when it reads.
    """

    deadline: Time = 3.0  # of a call whose route does not say its own
    body_bytes: Amount = 1 << 20
    head_bytes: Count = 32 << 10
    head_lines: Count = 100
    target_bytes: Count = 8 << 10
    head_timeout: Time = 5.0  # from the first byte of a head to its last
    body_grace: Time = 2.0  # after this, a body must arrive at `body_rate`
    body_rate: Amount = 1 << 10  # bytes per second
    idle_timeout: Time = 30.0  # between requests
    write_timeout: Time = 30.0  # without any progress
    # A refused client that still sends is read for nobody, so that no reset takes its answer away:
    linger: Span = 5.0  # until it is silent for this long
    linger_timeout: Time = 30.0  # or has gone on for this long in all
    linger_bytes: Amount = 64 << 20  # or has sent this much
    # What a client that sends no more is waited for where it cannot be asked whether it is there;
    # 0: whoever sends no more amid a request has left.
    half_close: Span = 1.0
    drain_grace: Span = 0.5  # while draining, who was not told of it is kept this long when idle
    buffer_bytes: Count = 64 << 10  # unread bytes held per direction before the peer is paused
    splice_bytes: Amount = 128 << 10  # from this length on, answers pass in the kernel; 0: none
    connections: Count = 4096
    connections_per_address: Count = 1024  # an IPv6 network of 64 bits is one address
    idle_reuse: Share = 0.9  # from this share of `connections` on, idle ones give way to new ones
    sessions: Amount = 1024  # upgraded connections at once
    sessions_per_address: Amount = 256  # by the client's, of whom a trusted proxy may tell
    session_idle: Time = 300.0  # of a session that passes through: who is silent, pings
    connect_method: bool = False  # whether CONNECT reaches the handler


class ClientSettings(msgspec.Struct, frozen=True):
    """How one pool treats its endpoint. Durations are seconds."""

    connections: Count = 256
    connections_in_all: Count = 4096  # of all pools of a process: what their `Room` is made with
    connect_timeout: Time = 1.0  # of one connection, from looking up the name to the handshake
    address_delay: Span = 0.25  # before a name's next address is tried as well (RFC 8305)
    idle_timeout: Time = 15.0  # shorter than any sensible server's, so that we leave first
    lifetime: Time = 300.0  # of a connection; each ends up to a fifth earlier, apart from others
    uses: Amount = 0  # exchanges of one connection; 0: as many as it lives for
    body_timeout: Time = 30.0  # a body that brings nothing for this long is hung
    write_timeout: Time = 30.0  # an upstream that takes nothing for this long is hung
    head_bytes: Count = 32 << 10
    head_lines: Count = 100
    buffer_bytes: Count = 64 << 10


class TlsSettings(msgspec.Struct, frozen=True):
    """Whom a pool believes, and who it is itself. Files are PEM.

    The upstream's certificate and name are always verified; there is no way to have it otherwise.
    """

    ca_file: str = ""  # whose signatures count; none: the system's
    certificate: str = ""  # our own, with its chain
    key: str = ""  # of the certificate; none: it is in the same file
    server_name: str = ""  # that the certificate must bear; none: the host that is dialled


class SocketSettings(msgspec.Struct, frozen=True):
    """How a WebSocket treats its peer. Durations are seconds."""

    message_bytes: int = 1 << 20
    queue: int = 64  # undelivered messages before the peer is paused
    queue_bytes: int = 256 << 10  # and bytes, or characters, of them; one is taken however large
    ping_every: float = 20.0
    pong_within: float = 20.0
    close_timeout: float = 5.0
