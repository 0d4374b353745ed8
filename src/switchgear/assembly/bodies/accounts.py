"""The accounts process: registration, tokens and keys, on a schema that nobody else can read."""

import asyncio
import random

from switchgear.accounts.desk import Desk
from switchgear.accounts.endpoints import endpoints
from switchgear.accounts.refusals import REASONS
from switchgear.accounts.vault import Vault, open_vault
from switchgear.assembly.bodies.database import dsn_of, guarded
from switchgear.assembly.bodies.refusals import RefusalLog
from switchgear.assembly.bodies.web import fair, serve
from switchgear.assembly.roles import RoleContext
from switchgear.assembly.routes import ACCOUNTS
from switchgear.core.clock import FINE
from switchgear.identity.passwords import Passwords
from switchgear.policy.backoff import Backoff, BackoffSettings
from switchgear.policy.fault import Fault
from switchgear.policy.verdict import BAD_AGAIN
from switchgear.ports.tables import Tables
from switchgear.services.host import Host
from switchgear.services.providers import http_providers

__all__ = ["accounts"]


async def accounts(context: RoleContext) -> None:
    """Serve accounts to gateways until drained."""
    settings = context.settings.accounts
    passwords = Passwords(settings.passwords)
    async with guarded(context, dsn_of(context, "accounts")) as tables:
        try:
            vault = await _opened(context, tables)
            if vault is None:
                return
            told = RefusalLog(context.log, reasons=REASONS)
            desk = Desk(tables, vault, passwords, settings, observer=told)
            context.registry.sampled_by(
                "accounts_refusals_total",
                "Sign-ins and registrations refused.",
                "reason",
                lambda: desk.refusals,
                "counter",
            )
            host = Host(
                ACCOUNTS,
                endpoints(),
                tables=tables,
                providers={**http_providers(), Desk: lambda _: desk},
                body_bytes=context.settings.http.body_bytes,
                fair=fair(context),
            )
            await serve(context, ACCOUNTS, host)
        finally:
            passwords.close()


async def _opened(context: RoleContext, tables: Tables) -> Vault | None:
    """Open the vault, waiting for its database if need be; None when drained meanwhile."""
    backoff = Backoff(BackoffSettings(attempts=100, base=0.1, cap=1.0), random=random.random)
    attempt = 0
    while not context.draining.is_set():
        attempt += 1
        try:
            return await open_vault(tables, FINE() + 3.0)
        except Fault as fault:
            context.log.warning("the vault is not open yet", detail=fault.detail)
            await asyncio.sleep(backoff.delay(min(attempt, 6), BAD_AGAIN, None) or 1.0)
    return None
