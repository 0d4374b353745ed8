"""Secrets stay with whoever has a use for them."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from switchgear.assembly.roles import Plan
from switchgear.assembly.secret import Secret, SecretUrl
from switchgear.assembly.settings import Database, Settings, Trust
from switchgear.assembly.supervisor import Outlet, Site, Supervisor


def test_no_role_is_told_how_to_be_the_owner_of_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They run the app's code, and what accounts keep is to be closed to it."""
    monkeypatch.setenv("URL", "postgresql://admin:hunter2@h/d")
    monkeypatch.setenv("KEY", "hunter2" * 5)
    settings = Settings(
        database=Database(url=SecretUrl(env="URL"), account="nobody"),
        trust=Trust(internal_key=Secret(env="KEY")),
    )
    runtime: Any = SimpleNamespace(boot="b")
    supervisor = Supervisor(
        Plan(()), settings, Site(runtime, Outlet(3)), lambda _: None, clock=lambda: 0.0
    )
    sent = bytes(supervisor._boot_settings)
    assert b"hunter2" not in sent
    got = msgspec.json.decode(sent, type=Settings)
    assert got.database.account == "nobody"
    assert got.http == settings.http
