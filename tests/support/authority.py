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

# From Python 3.13 on, an authority has to say that it is one.
_SIGNS: Final = x509.KeyUsage(
    key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False,
    key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
    decipher_only=False,
)  # fmt: skip


class Authority:
    """A certificate authority of a test's own, which signs what it is told to."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        made = self._build(self._name, self._key.public_key(), 1)
        for extension in (x509.BasicConstraints(ca=True, path_length=0), _SIGNS):
            made = made.add_extension(extension, critical=True)
        self.file.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))

    def issue(self, *names: str | ipaddress.IPv4Address, days: int = 1, own: bool = False) -> Path:
        """Return the file of a certificate, with its key. `own`: it has signed itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        kinds = [x509.DNSName(one) if isinstance(one, str) else x509.IPAddress(one)
                 for one in names]  # fmt: skip
        made = self._build(subject, key.public_key(), days, subject if own else None)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            (key if own else self._key).public_key()
        )
        for extension in (x509.SubjectAlternativeName(kinds), signer):
            made = made.add_extension(extension, critical=False)
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
        self, subject: x509.Name, subject_key: Any, days: int, issuer: x509.Name | None = None
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        named = x509.SubjectKeyIdentifier.from_public_key(subject_key)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self._name)
            .public_key(subject_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=9))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(named, critical=False)
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
