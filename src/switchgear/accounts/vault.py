"""The vault: the keys of accounts, in their own schema, made once by whoever comes first."""

import json
import secrets

import msgspec

from switchgear.identity.keys import SigningKey
from switchgear.identity.shared import SharedKeys
from switchgear.ports.tables import Tables, Transaction

__all__ = ["Vault", "open_vault"]

_LOCK = 0x5357_4B45_5953  # "SWKEYS": two processes must not both make the first key


class Vault(msgspec.Struct, frozen=True):
    """What signs: `newest` access tokens, `published` verify them, `shared` refresh tokens."""

    newest: SigningKey
    published: tuple[SigningKey, ...]
    shared: SharedKeys


class _Stored(msgspec.Struct):
    kid: str
    private_jwk: str


class _Shared(msgspec.Struct):
    id: str
    secret: bytes


async def open_vault(tables: Tables, deadline: float) -> Vault:
    """Read the keys, making the first ones where there are none. Raises a Fault."""
    async with tables.transaction(deadline) as tx:
        await tx.execute("select pg_advisory_xact_lock($1)", _LOCK)
        return Vault(*await _signing(tx), await _refreshing(tx))


async def _signing(tx: Transaction) -> tuple[SigningKey, tuple[SigningKey, ...]]:
    rows = await tx.fetch_all(
        _Stored,
        "select kid, private_jwk from signing_key where retired_at is null"
        " order by created_at desc",
    )
    if not rows:
        key = SigningKey.generate()
        written = json.dumps(key.private())
        await tx.execute(
            "insert into signing_key (kid, private_jwk) values ($1, $2)", key.kid, written
        )
        return key, (key,)
    keys = tuple(SigningKey.load(json.loads(row.private_jwk)) for row in rows)
    return keys[0], keys


async def _refreshing(tx: Transaction) -> SharedKeys:
    rows = await tx.fetch_all(_Shared, "select id, secret from shared_key order by created_at desc")
    if not rows:
        row = _Shared(secrets.token_hex(4), secrets.token_bytes(32))
        await tx.execute("insert into shared_key (id, secret) values ($1, $2)", row.id, row.secret)
        rows = [row]
    return SharedKeys({row.id: row.secret for row in rows}, rows[0].id)
