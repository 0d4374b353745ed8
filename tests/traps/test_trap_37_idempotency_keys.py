"""Trap 37: a key is one principal's, for one request; its outcome commits with its effect.

Else a retry after a crash does it twice, or is told of what was never done; or one client reads
what another was answered.
"""

import asyncio

import pytest

from switchgear import Code, Fault, Transaction
from switchgear.engines.postgres.bootstrap import Roles
from tests.support.postgres import run
from tests.support.recorded import BOB, Held, Item, New, house, same, until

# Refuses the first commit of a table's row, after everything that came before it.
NOT_YET = """
create sequence commits;
grant usage on sequence commits to public;
create function not_yet() returns trigger language plpgsql as $$
begin
    if nextval('commits') = 1 then
        raise exception 'not yet' using errcode = 'serialization_failure';
    end if;
    return null;
end
$$;
create constraint trigger not_yet after insert on item deferrable initially deferred
    for each row execute function not_yet();
"""

pytestmark = pytest.mark.timeout(60)


async def test_trap_37_effect_and_outcome_commit_together_or_not_at_all(roles: Roles) -> None:
    async with house(roles) as told:
        await run(roles.owner, NOT_YET)
        host = told.host(told.make)
        assert (await told.ask(host)).status == 409
        assert (await told.rows(), await told.kept()) == ([], 0)
        done = await until(lambda: told.ask(host))
        assert (done.status, "idempotency-replayed" in done.headers) == (201, False)
        assert (await told.rows(), await told.kept()) == (["lamp"], 1)
        assert same(done, await told.ask(host))


async def test_trap_37_two_at_once_have_one_effect(roles: Roles) -> None:
    async with house(roles) as told:
        held = Held(told)
        host = told.host(held.make)
        first = asyncio.ensure_future(told.ask(host))
        await held.inside.wait()
        second = await told.ask(host)
        assert (second.status, second.headers["retry-after"]) == (409, "1")
        held.go.set()
        assert same(await first, await told.ask(host))
        assert told.runs == 1


async def test_trap_37_one_clients_key_is_not_anothers(roles: Roles) -> None:
    async with house(roles) as told:
        host = told.host(told.make)
        mine, theirs = await told.ask(host, "mine"), await told.ask(host, "theirs", who=BOB)
        assert (mine.status, theirs.status) == (201, 201)
        assert same(mine, await told.ask(host, "mine"))
        assert same(theirs, await told.ask(host, "theirs", who=BOB))


async def test_trap_37_a_key_does_not_answer_another_request(roles: Roles) -> None:
    async with house(roles) as told:
        host = told.host(told.make)
        assert (await told.ask(host, "lamp")).status == 201
        assert (await told.ask(host, "desk")).status == 422
        assert await told.rows() == ["lamp"]


async def test_trap_37_a_failure_is_an_outcome_and_what_may_succeed_later_is_none(
    roles: Roles,
) -> None:
    async with house(roles) as told:

        async def make(new: New, tx: Transaction) -> Item:
            item = await told.make(new, tx)
            if told.runs in (1, 2):
                raise Fault(Code.NOT_FOUND if new.name == "none" else Code.UNAVAILABLE)
            return item

        host = told.host(make)
        none = await told.ask(host, "none", "k1")
        assert none.status == 404
        assert same(none, await told.ask(host, "none", "k1"))
        assert (await told.ask(host, "later", "k2")).status == 503
        assert (await until(lambda: told.ask(host, "later", "k2"))).status == 201
        assert (told.runs, await told.rows()) == (3, ["later"])
