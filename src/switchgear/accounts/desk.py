"""The desk: registering, signing in and out, and refreshing a session, on the rows of accounts."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from uuid import UUID, uuid4

import msgspec

from switchgear.accounts.guesses import Claim, Guesses
from switchgear.accounts.refusals import GUESSES, Observer, Refusals
from switchgear.accounts.settings import AccountsSettings
from switchgear.accounts.surface import Ended as EndedSessions
from switchgear.accounts.vault import Vault
from switchgear.identity.keys import jwks
from switchgear.identity.passwords import Passwords, Work, prepared
from switchgear.identity.refresh import (
    Ended,
    Family,
    RefreshSettings,
    RefreshTokens,
    Reused,
    begin,
    decide,
)
from switchgear.identity.tokens import Minter, TokenSettings
from switchgear.identity.turns import Asker
from switchgear.policy.call import Principal
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.ports.tables import Tables, Transaction

__all__ = ["Desk", "Session"]

_RACES: Final = 4  # refreshes of one family at once that are sorted out before giving up
_PAGE: Final = 2000  # sessions told of at once
_SKEW: Final = 120.0  # seconds by which the clock of a gateway may be behind ours


class Session(msgspec.Struct, frozen=True):
    """What a signed-in client holds: a short access token and the refresh token that renews it."""

    access_token: str
    refresh_token: str
    expires_in: int
    scope: str
    token_type: str = "Bearer"  # noqa: S105 - the kind's name, no secret


class _Account(msgspec.Struct):
    id: UUID
    password_hash: str
    scopes: list[str]


class _Owned(msgspec.Struct):
    account_id: UUID
    scopes: list[str]
    id: str
    generation: int
    rotated: float
    ends: float
    graced: bool
    revoked: bool

    def family(self) -> Family:
        """Return the row as the decision knows it."""
        return Family(self.id, self.generation, self.rotated, self.ends, self.graced, self.revoked)


class _Over(msgspec.Struct):
    id: str
    rotated: float
    ended: float


class Desk:
    """Every verb of accounts. `deadline` arguments are instants on the process's clock."""

    def __init__(
        self,
        tables: Tables,
        vault: Vault,
        passwords: Passwords,
        settings: AccountsSettings,
        wall: Callable[[], float] = time.time,
        observer: Observer | None = None,
    ) -> None:
        self._tables = tables
        self._passwords = passwords
        self._settings = settings
        self._wall = wall
        tokens = TokenSettings(settings.issuer, settings.audience, settings.access_lifetime)
        self._minter = Minter(vault.newest, tokens)
        self._refresh = RefreshTokens(vault.shared)
        self._families = RefreshSettings(
            idle=settings.refresh_idle, whole=settings.refresh_whole, grace=settings.refresh_grace
        )
        # From when a session last rotated, or ended, until its last access token has expired.
        self._last = settings.refresh_grace + settings.access_lifetime
        self._guesses = Guesses(settings.guesses, vault.shared, settings.refresh_idle)
        self._refusals = Refusals(observer)
        self.refusals = self._refusals.counts
        self.keys = jwks(vault.published)

    async def register(self, email: str, password: str, deadline: float, address: str = "") -> None:
        """Make an account, or change nothing where it exists: the answer must not tell which.

        Nor must the time: either way the password is hashed first, and a row is written, for a
        commit that wrote nothing is quicker by the wait for the disk.
        """
        if len(password) < self._settings.password_least:
            least = self._settings.password_least
            wrong = {"pointer": "/password", "detail": f"expected at least {least} characters"}
            raise Fault(
                Code.INVALID_ARGUMENT,
                "the password is too short",
                effect=Effect.NONE,
                extra={"errors": [wrong]},
            )
        with self._refusals.told(address):
            hashed = await self._passwords.hash(password, _asker(address, email))
        async with self._tables.transaction(deadline) as tx:
            await tx.execute(
                "insert into account (id, email, password_hash, scopes) values ($1, $2, $3, $4)"
                " on conflict (lower(email)) do update set email = account.email",
                uuid4(),
                email,
                hashed,
                list(self._settings.default_scopes),
            )

    async def sign_in(
        self, email: str, password: str, deadline: float, address: str = ""
    ) -> Session:
        """Open a session. An unknown account and a wrong password are one answer in one time.

        `address` is the client's: of what is in work at a time, each has its part, and where it
        has a session already, it is not held off for what others guess.
        """
        prepared(password)  # what cannot be one is no guess
        async with AsyncExitStack() as stack:
            with self._refusals.told(address):
                work = await stack.enter_async_context(self._turn(email, deadline, address))
            account, claim = await self._guess(email, deadline, address)
            stored = account.password_hash if account is not None else None
            checked = await work.check(password, stored)
            rehashed = await work.hash(password) if checked.rehash else None
        if account is None or not checked.right:
            raise Fault(
                Code.UNAUTHENTICATED,
                "wrong email or password",
                effect=Effect.NONE,
                public="The email or the password is wrong.",
            )
        now = self._wall()
        family = begin(now, self._families)
        async with self._tables.transaction(deadline) as tx:
            if rehashed is not None:
                await tx.execute(
                    "update account set password_hash = $2 where id = $1", account.id, rehashed
                )
            await self._make_room(tx, account.id, now)
            await tx.execute(
                "insert into family"
                " (id, account_id, generation, rotated, ends, graced, revoked, network)"
                " values ($1, $2, $3, $4, $5, false, false, $6)",
                family.id,
                account.id,
                family.generation,
                family.rotated,
                family.ends,
                address,
            )
            await self._guesses.right(tx, claim)
        return self._session(account.id, account.scopes, family)

    async def refresh(self, token: str, deadline: float) -> Session:
        """Renew a session: its refresh token rotates, and one that was copied ends it."""
        presented = self._refresh.read(token)
        for _ in range(_RACES):
            refused: str | None = None
            async with self._tables.transaction(deadline) as tx:
                owned = await _find(tx, presented.family)
                if owned is None:
                    raise _over(f"family {presented.family} is not there")
                family = owned.family()
                decision = decide(family, presented.generation, self._wall(), self._families)
                if isinstance(decision, Ended):
                    raise _over(decision.detail)
                if isinstance(decision, Reused):
                    refused = decision.detail
                if not await _write(tx, family, decision.family):
                    continue  # somebody else was quicker: look again
            if refused is not None:  # after its commit: the family has ended for everybody
                raise _over(refused)
            return self._session(owned.account_id, owned.scopes, decision.family)
        raise Fault(Code.ABORTED, "the session is refreshed by too many at once")

    async def sign_out(self, token: str, deadline: float) -> None:
        """End the session of a refresh token, be it the newest of it or a spent one.

        Its access tokens end as soon as gateways hear of it.
        """
        try:
            presented = self._refresh.read(token)
        except Fault:
            return  # it ends nothing, and nobody need be told what is no token
        async with self._tables.transaction(deadline) as tx:
            await tx.execute(
                "update family set revoked = true where id = $1 and not revoked", presented.family
            )

    async def ended(self, since: float, after: str, deadline: float) -> EndedSessions:
        """Tell which sessions were ended after `since`, and after the one of the id `after` then.

        Also those of which there are no access tokens any more: what was opened with one may go on.
        `since` is an instant of the database, as told with an earlier page.
        """
        last = self._last
        long = last + _SKEW
        async with self._tables.transaction(deadline) as tx:
            rows = await tx.fetch_all(
                _Over,
                "select id, rotated, ended from (select id, rotated, ended from family"
                " union all select id, rotated, ended from gone) as session,"
                # So the index knows where to begin, for rows stay long.
                " (select greatest($1, (extract(epoch from now()) - $3)::float8) as first) as look"
                " where ended >= first and (ended, id) > (first, $2) order by ended, id limit $4",
                since,
                after,
                long,
                _PAGE,
            )
        if rows:
            since, after = rows[-1].ended, rows[-1].id
        told = [(row.id, row.rotated + last) for row in rows]
        return EndedSessions(told, since, after, full=len(rows) == _PAGE)

    async def _make_room(self, tx: Transaction, account: UUID, now: float) -> None:
        """Sweep what has ended of an account, and end what is too much for one session more."""
        # One sign-in at a time: several at once would count the same ones.
        await tx.execute("select 1 from account where id = $1 for no key update", account)
        await tx.execute(
            "delete from family where account_id = $1 and (ends <= $2 or rotated <= $3"
            # What was ended is told to gateways for as long as there may be tokens of it.
            " or ended <= extract(epoch from now()) - $4::float8)",
            account,
            now,
            now - self._families.idle,
            self._last + _SKEW,
        )
        await tx.execute(
            "delete from gone where ended <= extract(epoch from now()) - $1::float8",
            self._last + _SKEW,
        )
        await tx.execute(
            "update family set revoked = true where id in (select id from family"
            " where account_id = $1 and not revoked order by rotated desc, id offset $2)",
            account,
            self._settings.sessions - 1,
        )

    @asynccontextmanager
    async def _turn(self, email: str, deadline: float, address: str) -> AsyncIterator[Work]:
        """Wait for password work: a flood that waits there leaves the database alone."""
        asker = _asker(address, email)
        if self._passwords.crowded(asker.account):
            # What strangers have in work there is not held against who is known.
            async with self._tables.transaction(deadline) as tx:
                if await self._guesses.familiar(tx, email, address, self._wall()):
                    asker = Asker(address)
        async with self._passwords.turn(asker) as work:
            yield work

    async def _guess(
        self, email: str, deadline: float, address: str
    ) -> tuple[_Account | None, Claim]:
        """Count a guess, and find what it is about."""
        async with self._tables.transaction(deadline) as tx:
            with self._refusals.told(address, GUESSES):
                claim = await self._guesses.claim(tx, email, address, self._wall())
            account = await tx.fetch_first(
                _Account,
                "select id, password_hash, scopes from account where lower(email) = lower($1)",
                email,
            )
        return account, claim

    def _session(self, account: UUID, scopes: list[str], family: Family) -> Session:
        granted = frozenset(scopes)
        principal = Principal(str(account), str(account), granted)
        return Session(
            self._minter.mint(principal, self._wall(), session=family.id),
            self._refresh.write(family),
            int(self._settings.access_lifetime),
            " ".join(sorted(granted)),
        )


def _asker(address: str, email: str) -> Asker:
    return Asker(address, email.lower())  # as accounts are told apart


async def _find(tx: Transaction, family: str) -> _Owned | None:
    return await tx.fetch_first(
        _Owned,
        "select account_id, scopes, family.id, generation, rotated, ends, graced, revoked"
        " from family join account on account.id = account_id where family.id = $1",
        family,
    )


async def _write(tx: Transaction, old: Family, new: Family) -> bool:
    """Write the new row if the old one is still as it was read."""
    touched = await tx.execute(
        "update family set generation = $4, rotated = $5, graced = $6, revoked = $7"
        " where id = $1 and generation = $2 and graced = $3 and not revoked",
        old.id,
        old.generation,
        old.graced,
        new.generation,
        new.rotated,
        new.graced,
        new.revoked,
    )
    return touched == 1


def _over(detail: str) -> Fault:
    return Fault(
        Code.UNAUTHENTICATED,
        detail,
        effect=Effect.NONE,
        public="The session has ended; sign in again.",
    )
