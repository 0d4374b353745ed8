"""Accounts on a real database, with a wall clock that tests move."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import switchgear.accounts
from switchgear.accounts.desk import Desk, Session
from switchgear.accounts.endpoints import endpoints
from switchgear.accounts.settings import AccountsSettings
from switchgear.accounts.vault import open_vault
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.migrations import migrate
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.http.events import Turned
from switchgear.http.message import Request, Response
from switchgear.identity.jwks import KeySet
from switchgear.identity.passwords import Passwords, PasswordSettings
from switchgear.identity.tokens import TokenSettings, Verified, Verifier
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.services.host import Host
from switchgear.services.providers import http_providers

__all__ = ["CHEAP", "PASSWORD", "SETTINGS", "House", "fault_code", "house", "refused"]

CHEAP = PasswordSettings(rounds=1, memory_kib=64, workers=2, queue=64)
SETTINGS = AccountsSettings(default_scopes=("user:write",), passwords=CHEAP)
PASSWORD = "correct horse battery"


class House:
    """Accounts on a database, with a wall clock that tests move."""

    def __init__(self, tables: PostgresTables, settings: AccountsSettings) -> None:
        self.tables = tables
        self.settings = settings
        self.passwords = Passwords(settings.passwords)
        self.late = 0.0
        self.turned: list[Turned] = []
        self.desk: Desk
        self.host: Host

    async def open(self) -> None:
        vault = await open_vault(self.tables, self.soon)
        self.desk = Desk(
            self.tables, vault, self.passwords, self.settings, self.wall, self.turned.append
        )
        self.host = Host(
            "accounts",
            endpoints(),
            tables=self.tables,
            providers={**http_providers(), Desk: lambda _: self.desk},
        )

    def wall(self) -> float:
        return time.time() + self.late

    @property
    def soon(self) -> float:
        return time.perf_counter() + 10

    async def ask(self, method: str, path: str, body: object = None, peer: str = "") -> Response:
        sent = msgspec.json.encode(body) if body is not None else b""
        request = msgspec.structs.replace(Request.of(method, path, body=sent), peer=peer)
        return await self.host(Call(request, self.soon))

    async def register(self, email: str, password: str = PASSWORD) -> None:
        await self.desk.register(email, password, self.soon)

    async def sign_in(self, email: str, password: str = PASSWORD, address: str = "") -> Session:
        return await self.desk.sign_in(email, password, self.soon, address)

    async def refresh(self, token: str) -> Session:
        return await self.desk.refresh(token, self.soon)

    async def count(self, sql: str) -> int:
        async with self.tables.transaction(self.soon) as tx:
            return await tx.fetch_one(int, sql)

    async def write(self, sql: str) -> None:
        async with self.tables.transaction(self.soon) as tx:
            await tx.execute(sql)

    async def verified(self, session: Session) -> Verified:
        async def fetch() -> bytes:
            return self.desk.keys

        settings = TokenSettings(self.settings.issuer, self.settings.audience)
        return await Verifier(KeySet(fetch), settings).inspect(session.access_token, self.wall())


@asynccontextmanager
async def house(roles: Roles, settings: AccountsSettings = SETTINGS) -> AsyncIterator[House]:
    folder = Path(switchgear.accounts.__file__).with_name("migrations")
    await migrate(roles.accounts, folder, "accounts", ledger="accounts.migrations_applied")
    tables = PostgresTables(roles.accounts)
    told = House(tables, settings)
    try:
        await told.open()
        yield told
    finally:
        told.passwords.close()
        await tables.close()


def fault_code(found: Response | BaseException) -> Code | None:
    """Return the code of what failed, and raise a defect."""
    if isinstance(found, Response):
        return None
    if isinstance(found, Fault):
        return found.code
    raise found


async def refused(asked: Any, code: Code = Code.UNAUTHENTICATED) -> Fault:
    with pytest.raises(Fault) as raised:
        await asked
    assert raised.value.code is code
    return raised.value
