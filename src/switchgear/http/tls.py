"""TLS to upstreams: verified always, at least 1.2. There is no switch that turns that off."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from switchgear.http.settings import TlsSettings
from switchgear.http.watch import Told

__all__ = ["announced", "client_context", "verifying"]

_OWN: Final = ["http/1.1"]  # what is spoken here; a server that would speak HTTP/2 is told so


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """Make the context of one or many pools. Reading the system's CAs takes a while: share it.

    Raises OSError for files that cannot be read, or hold no certificate or not its key; by name.
    """
    with _naming(settings.ca_file):
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_OWN)
    if settings.certificate:
        with _naming(settings.certificate, settings.key):
            context.load_cert_chain(settings.certificate, settings.key or None)
    return context


@contextmanager
def _naming(*files: str) -> Iterator[None]:
    """Say which files an error is of: OpenSSL tells what is wrong, and not where."""
    try:
        yield
    except OSError as error:
        named = " and ".join(repr(file) for file in files if file)
        raise type(error)(error.errno, f"{error.strerror}: {named}") from None


def verifying(context: ssl.SSLContext) -> ssl.SSLContext:
    """Return a context of somebody's own making, if it verifies.

    Raises ValueError where it does not: it would encrypt for whoever answers.
    """
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise ValueError("this TLS context verifies no certificate or no name: a pool needs both")
    return context


def announced(transport: Told) -> bool:
    """Say whether the peer has meant the end of what it sent, now that it has come.

    Anybody on the way can end a TCP connection; the TLS on it is ended by the peer's close_notify
    alone. asyncio tells of both in the same way. Source: RFC 8446 section 6.1.
    """
    secured = transport.get_extra_info("ssl_object")
    if secured is None:
        return True
    try:
        return not secured.read(1)
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:  # it would still wait for more
        return False
