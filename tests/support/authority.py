"""Certificates for tests: an authority of their own, and whatever it signs."""

import datetime as dt
import ipaddress
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["LOOPBACK", "Authority"]

LOOPBACK: Final = ipaddress.IPv4Address("127.0.0.1")


class Authority:
    """A certificate authority of a test's own, which signs what it is told to."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        made = self._build(self._name, self._key.public_key(), 1).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))

    def issue(self, *names: str | ipaddress.IPv4Address, days: int = 1, own: bool = False) -> Path:
        """Return the file of a certificate, with its key. `own`: it has signed itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        kinds = [x509.DNSName(one) if isinstance(one, str) else x509.IPAddress(one)
                 for one in names]  # fmt: skip
        made = self._build(subject, key.public_key(), days, subject if own else None)
        made = made.add_extension(x509.SubjectAlternativeName(kinds), critical=False)
        file = self._folder / f"{made._serial_number}.pem"
        file.write_bytes(
            _pem(made.sign(key if own else self._key, hashes.SHA256()))
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return file

    def _build(
        self, subject: x509.Name, key: Any, days: int, issuer: x509.Name | None = None
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=9))
            .not_valid_after(now + dt.timedelta(days=days))
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
