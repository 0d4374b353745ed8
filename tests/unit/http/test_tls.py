"""TLS files: what is wrong with one is told with its name."""

import ssl
from pathlib import Path

import pytest

from switchgear.http.settings import TlsSettings
from switchgear.http.tls import client_context


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "ca.pem")
    with pytest.raises(FileNotFoundError, match=rf"No such file or directory: '{missing}'"):
        client_context(TlsSettings(ca_file=missing))
    with pytest.raises(FileNotFoundError, match=rf"'{missing}' and '{missing}\.key'"):
        client_context(TlsSettings(certificate=missing, key=f"{missing}.key"))


def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(ssl.SSLError, match=str(empty)):
        client_context(TlsSettings(ca_file=str(empty)))
    with pytest.raises(ssl.SSLError, match=str(empty)):
        client_context(TlsSettings(certificate=str(empty)))
