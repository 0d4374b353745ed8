"""Idempotency keys on a real server: one effect for each key, and one answer to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from switchgear import Code, Fault, Principal, Request, Response, Transaction
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.records import PostgresRecords
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.http.headers import Headers
from switchgear.http.message import StreamResponse
from switchgear.http.problem import judging
from switchgear.policy.call import Call
from switchgear.policy.verdict import GOOD, NEUTRAL
from switchgear.ports.records import Record
from switchgear.services.forgetting import forgetting
from switchgear.services.host import Host
from tests.support.postgres import run
from tests.support.recorded import ADA, BOB, Held, House, Item, New, house, same, until

NONE = ["", '""', '"a', 'a"b', "a b", "a, b", '"a", "b"', "a;b=1", "\xe9", '"\xe9"', '"a\\b"',
        "a" * 256, f'"{"a" * 256}"', '"a\tb"', "a\x7f"]  # fmt: skip
KEYS = ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", "order:7/b=", "a" * 255, f'"{"b" * 255}"',
        '"a b, c; d"', '"a\\"b\\\\c"']  # fmt: skip


async def test_a_repeated_request_is_answered_as_the_first_was_and_done_once(roles: Roles) -> None:
    async with house(roles) as told:
        host = told.host(told.make)
        first = await told.ask(host)
        assert first.status == 201
        for _ in range(3):
            assert same(first, await told.ask(host))
        assert same(first, await told.ask(host, key='"k1"'))  # in quotes it is the same key
        assert (told.runs, await told.rows()) == (1, ["lamp"])
        assert told.counted() == {"recorded": 1, "replayed": 4}
        depths = await told.queue.depths(time.perf_counter() + 5)
        assert depths == {"item.made": {"ready": 1}}


# The server ends the connection amid the COMMIT, once: what became of it cannot be told.
ENDS_A_COMMIT = """
create sequence commits;
grant usage on sequence commits to public;
create function ended() returns trigger language plpgsql as $$ begin
    if nextval('commits') = 1 then
        perform pg_terminate_backend(pg_backend_pid());
        perform pg_sleep(60);
    end if;
    return null;
end $$;
create constraint trigger ends after insert on item
    deferrable initially deferred for each row execute function ended();
"""


@pytest.mark.parametrize("key", [None, "k1"])
async def test_of_a_lost_commit_nobody_is_told_that_it_was_not_done(
    roles: Roles, key: str | None
) -> None:
    async with house(roles) as told:
        await run(roles.owner, ENDS_A_COMMIT)
        host = told.host(told.make)
        lost = await told.ask(host, key=key)
        assert (lost.status, msgspec.json.decode(lost.body)["effect"]) == (503, "unknown")
        assert "retry-after" not in lost.headers
        assert b"again" not in lost.body
        assert (await told.ask(host, key=key)).status == 201
        assert await told.rows() == ["lamp"]


async def test_another_key_and_no_key_are_other_requests(roles: Roles) -> None:
    async with house(roles) as told:
        host = told.host(told.make)
        assert (await told.ask(host, "a", "k1")).status == 201
        assert (await told.ask(host, "b", "k2")).status == 201
        assert (await told.ask(host, "c", None)).status == 201
        assert (await told.ask(host, "c", None)).status == 409  # there is one of that name
        assert await told.rows() == ["a", "b", "c"]
        assert await told.kept() == 2


async def test_whoever_else_has_the_same_key_has_another(roles: Roles) -> None:
    async with house(roles) as told:
        host = told.host(told.make)
        mine = await told.ask(host, "mine")
        for number, who in enumerate([BOB, Principal("ada", "other"), Principal("adaacme")]):
            theirs = await told.ask(host, f"theirs {number}", who=who)
            assert theirs.status == 201
            assert theirs.body != mine.body
        assert same(mine, await told.ask(host, "mine"))
        assert told.runs == 4


async def test_another_route_has_keys_of_its_own(roles: Roles) -> None:
    async with house(roles) as told:
        first, second = told.host(told.make), told.host(told.make, "/others")
        assert (await told.ask(first, "a")).status == 201
        answer = await told.ask(second, "b", target="/others")
        assert (answer.status, "idempotency-replayed" in answer.headers) == (201, False)


async def test_a_key_of_another_request_is_refused(roles: Roles) -> None:
    async with house(roles) as told:
        host = told.host(told.make)
        first = await told.ask(host, "lamp", target="/items?a=0")
        for name, target in (("desk", "/items?a=0"), ("lamp", "/items?a=1"), ("lamp", "/items")):
            answer = await told.ask(host, name, target=target)
            assert answer.status == 422
            assert b"This idempotency key was used for another request." in answer.body
        assert same(first, await told.ask(host, "lamp", target="/items?a=0"))
        assert await told.rows() == ["lamp"]
        assert told.counted() == {"recorded": 1, "mismatch": 3, "replayed": 1}


async def test_of_those_that_come_together_one_is_done_and_the_others_told_to_wait(
    roles: Roles,
) -> None:
    async with house(roles) as told:
        held = Held(told)
        host = told.host(held.make)
        first = asyncio.ensure_future(told.ask(host))
        await held.inside.wait()
        for answer in await asyncio.gather(*(told.ask(host) for _ in range(5))):
            assert (answer.status, answer.headers["retry-after"]) == (409, "1")
            assert b'"aborted"' in answer.body
        assert told.counted() == {"busy": 5}
        other = asyncio.ensure_future(told.ask(host, "desk", "k2"))  # holds up nobody else
        held.go.set()
        assert (await other).status == 201
        assert same(await first, await told.ask(host))
        assert told.runs == 2


async def test_a_hundred_at_once_have_one_effect(roles: Roles) -> None:
    async with house(roles) as told:
        host = told.host(told.make)
        answers = await asyncio.gather(*(told.ask(host) for _ in range(100)))
        assert {answer.status for answer in answers} <= {201, 409}
        done = {bytes(answer.body) for answer in answers if answer.status == 201}
        assert len(done) == 1
        assert (told.runs, await told.rows()) == (1, ["lamp"])


# Failures


FINAL: dict[str, Callable[[], Exception]] = {
    "a fault": lambda: Fault(Code.FAILED_PRECONDITION, "x", public="It is sold out."),
    "one with members": lambda: Fault(Code.NOT_FOUND, extra={"sku": 7}),
    "a defect": lambda: ZeroDivisionError("a defect"),
    "a group": lambda: ExceptionGroup("both", [Fault(Code.NOT_FOUND)]),
}
AGAIN: dict[str, Callable[[], Exception]] = {
    "unavailable": lambda: Fault(Code.UNAVAILABLE),
    "late": lambda: Fault(Code.DEADLINE_EXCEEDED),
    "aborted": lambda: Fault(Code.ABORTED),
    "too much": lambda: Fault(Code.RESOURCE_EXHAUSTED),
    "cancelled": lambda: Fault(Code.CANCELLED),
    "it says when": lambda: Fault(Code.FAILED_PRECONDITION, retry_after=3.0),
    "by its status": lambda: Fault(Code.INTERNAL, extra={"status": 503}),
}


def failing(told: House, error: Callable[[], Exception]) -> Host:
    """Fail the first time."""
    failed = False

    async def fail(new: New, tx: Transaction) -> Item:
        nonlocal failed
        item = await told.make(new, tx)
        if not failed:
            failed = True
            raise error()
        return item

    return told.host(fail)


async def test_a_failure_that_is_final_is_an_outcome_and_leaves_no_effect(roles: Roles) -> None:
    async with house(roles) as told:
        for runs, (what, error) in enumerate(FINAL.items(), 1):
            host = failing(told, error)
            first = await told.ask(host, what, what.replace(" ", "-"))
            assert (what, first.status >= 400) == (what, True)
            for _ in range(2):
                assert same(first, await told.ask(host, what, what.replace(" ", "-")))
            assert (told.runs, await told.rows()) == (runs, [])
            assert told.counted() == {"recorded": 1, "replayed": 2}
        assert await told.queue.depths(time.perf_counter() + 5) == {}


async def test_a_failure_from_the_record_is_none_of_now(roles: Roles) -> None:
    """No breaker learns of it, and no gateway tries again: else one opens by one failure."""
    async with house(roles) as told:
        look = judging(trusted=True)
        for what, error in FINAL.items():
            host, key = failing(told, error), what.replace(" ", "-")
            first, again = await told.ask(host, what, key), await told.ask(host, what, key)
            assert first.status == again.status
            assert look(again) == (NEUTRAL if again.status >= 500 else GOOD)


async def test_what_says_try_again_is_no_outcome(roles: Roles) -> None:
    async with house(roles) as told:
        for what, error in AGAIN.items():
            host, key = failing(told, error), what.replace(" ", "-")
            assert (what, (await told.ask(host, what, key)).status >= 400) == (what, True)
            answer = await until(partial(told.ask, host, what, key))
            assert (what, answer.status) == (what, 201)
            assert "idempotency-replayed" not in answer.headers
        assert (told.runs, await told.rows()) == (2 * len(AGAIN), sorted(AGAIN))
        counted = told.counted()  # `until` may have found it busy
        assert (counted["recorded"], "replayed" in counted) == (len(AGAIN), False)


async def test_what_was_called_off_is_no_outcome(roles: Roles) -> None:
    async with house(roles) as told:
        inside = asyncio.Event()

        async def make(new: New, tx: Transaction) -> Item:
            item = await told.make(new, tx)
            if told.runs == 1:
                inside.set()
                await asyncio.sleep(30)
            return item

        host = told.host(make)
        leaving = asyncio.ensure_future(told.ask(host))
        await inside.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert (await until(partial(told.ask, host))).status == 201  # rolled back by and by
        assert (told.runs, await told.rows()) == (2, ["lamp"])


async def test_what_overruns_its_deadline_is_no_outcome(roles: Roles) -> None:
    async with house(roles) as told:

        async def make(new: New, tx: Transaction) -> Item:
            item = await told.make(new, tx)
            if told.runs == 1:
                await tx.execute("select pg_sleep(30)")
            return item

        host = told.host(make)
        assert (await told.ask(host, within=0.5)).status == 504
        assert (await until(partial(told.ask, host))).status == 201
        assert (told.runs, await told.rows()) == (2, ["lamp"])


async def test_a_database_that_is_lost_amid_it_is_no_outcome(roles: Roles) -> None:
    async with house(roles) as told:

        async def make(new: New, tx: Transaction) -> Item:
            item = await told.make(new, tx)
            if told.runs == 1:
                await tx.execute("select pg_terminate_backend(pg_backend_pid())")
            return item

        host = told.host(make)
        assert (await told.ask(host)).status == 503
        assert (await until(partial(told.ask, host))).status == 201
        assert (told.runs, await told.rows()) == (2, ["lamp"])


async def test_what_was_wrong_before_it_began_is_no_outcome(roles: Roles) -> None:
    async with house(roles) as told:
        host = told.host(told.make)
        assert (await told.ask(host, body=b'{"nam":1}')).status == 422
        assert (await told.ask(host, body=b"{")).status == 400
        assert await told.kept() == 0
        assert (await told.ask(host)).status == 201  # the same key, and another body


async def test_what_only_the_commit_refuses_is_an_outcome(roles: Roles) -> None:
    async with house(roles) as told:
        await run(
            roles.owner,
            "alter table item drop constraint item_name_key",
            "alter table item add constraint once unique (name) deferrable initially deferred",
        )
        host = told.host(told.make)
        assert (await told.ask(host, "lamp", "k1")).status == 201
        first = await told.ask(host, "lamp", "k2")
        assert first.status == 409
        assert same(first, await told.ask(host, "lamp", "k2"))
        assert (told.runs, await told.rows()) == (2, ["lamp"])


async def test_a_statement_that_failed_is_told_as_it_is_without_a_key(roles: Roles) -> None:
    async with house(roles) as told:
        said = []

        async def make(new: New, tx: Transaction) -> None:
            try:
                await tx.execute("select 1 / 0")
            except Fault as fault:
                said.append(fault)

        host = told.host(make)
        request = Request.of("POST", "/items", body=b'{"name":"a"}')
        for headers in (Headers(), Headers({"idempotency-key": "a"})):
            asked = msgspec.structs.replace(request, headers=headers)
            with pytest.raises(Fault) as raised:
                await host(Call(asked, time.perf_counter() + 5, principal=ADA))
            assert raised.value.code is Code.FAILED_PRECONDITION
            assert "division by zero" in raised.value.detail
        assert len(said) == 2


# Answers


async def test_an_answer_of_ones_own_is_repeated_whole(roles: Roles) -> None:
    async with house(roles) as told:
        fields = [("content-type", "text/csv"), ("set-cookie", "a=1"), ("set-cookie", "b=\xfc")]

        async def make(new: New, tx: Transaction) -> Response:
            await told.make(new, tx)
            return Response(202, Headers(fields), bytes(range(256)))

        host = told.host(make)
        first = await told.ask(host)
        assert (first.status, [*first.headers]) == (202, fields)
        assert same(first, await told.ask(host))


async def test_nothing_is_repeated_as_nothing(roles: Roles) -> None:
    async with house(roles) as told:

        async def make(tx: Transaction) -> None:
            await told.make(New("lamp"), tx)

        host = told.host(make)
        first = await told.ask(host)
        assert first.status == 204
        assert same(first, await told.ask(host))
        assert (await told.ask(host, "another body")).status == 422


async def test_a_streamed_answer_is_refused_with_its_effect(roles: Roles) -> None:
    async with house(roles) as told:

        async def make(new: New, tx: Transaction) -> Response:
            await told.make(new, tx)

            async def pieces() -> AsyncIterator[bytes]:
                yield b"a"

            return StreamResponse.of(pieces())

        host = told.host(make)
        assert (await told.ask(host)).status == 500
        assert await told.rows() == []
        assert (await told.ask(host, key=None)).status == 200


async def test_what_cannot_be_sent_leaves_no_effect(roles: Roles) -> None:
    async with house(roles) as told:

        async def make(new: New, tx: Transaction) -> Response:
            await told.make(new, tx)
            return Response(200, Headers({"x-a": "b\r\nc"}))

        assert (await told.ask(told.host(make))).status == 500
        assert await told.rows() == []


async def test_a_body_too_large_to_keep_is_done_once_and_said_to_be(roles: Roles) -> None:
    async with house(roles, answer_bytes=1000) as told:

        async def make(new: New, tx: Transaction) -> Response:
            await told.make(new, tx)
            return Response(200, body=b"a" * len(new.name))

        host = told.host(make)
        fits, large = "b" * 1000, "c" * 1001
        first = await told.ask(host, fits, "k1")
        assert same(first, await told.ask(host, fits, "k1"))
        assert (await told.ask(host, large, "k2")).status == 200
        again = await told.ask(host, large, "k2")
        assert (again.status, "retry-after" in again.headers) == (409, False)
        assert b"This was done and answered 200" in again.body
        assert told.counted() == {"recorded": 2, "replayed": 1, "not_kept": 1}
        assert (told.runs, await told.rows()) == (2, [fits, large])


async def test_a_handler_that_reads_the_request_finds_its_body(roles: Roles) -> None:
    async with house(roles) as told:

        async def make(request: Request, tx: Transaction) -> Response:
            return Response(200, body=await request.body.read(100))

        assert (await told.ask(told.host(make), body=b"\x00\xff")).body == b"\x00\xff"


# Keys


async def test_what_is_no_key_is_told_what_would_be_one(roles: Roles) -> None:
    async with house(roles) as told:
        host = told.host(told.make)
        for key in NONE:
            answer = await told.ask(host, key=key)
            assert (key, answer.status) == (key, 400)
            assert b"Send one Idempotency-Key of 1 to 255 characters" in answer.body
        assert await told.rows() == []


async def test_what_is_a_key(roles: Roles) -> None:
    async with house(roles) as told:
        host = told.host(told.make)
        for number, key in enumerate(KEYS):
            first = await told.ask(host, str(number), key)
            assert (key, first.status) == (key, 201)
            assert same(first, await told.ask(host, str(number), key))


async def test_a_key_that_is_required_is_asked_for(roles: Roles) -> None:
    async with house(roles) as told:
        host = told.host(told.make, idempotency="required")
        assert (await told.ask(host, key=None)).status == 400
        assert (await told.ask(host)).status == 201


async def test_where_keys_are_off_or_nobody_is_known_they_are_not_heeded(roles: Roles) -> None:
    async with house(roles) as told:
        for options in ({"idempotency": "off"}, {"public": True}):
            host = told.host(told.make, **options)
            name = str(options)
            assert (await told.ask(host, name)).status == 201
            assert (await told.ask(host, name)).status == 409
        assert await told.kept() == 0


# Time


async def test_an_outcome_expires_and_goes(roles: Roles) -> None:
    async with house(roles, keep=3600.0) as told:
        host = told.host(told.make)
        first = await told.ask(host, "a", "k1")
        assert (await told.ask(host, "b", "k2")).status == 201
        await run(
            roles.owner,
            "update switchgear.idempotency set kept_at = kept_at - interval '1 hour'"
            " where kept_at = (select min(kept_at) from switchgear.idempotency)",
        )
        anew = await told.ask(host, "c", "k1")
        assert (anew.status, anew.body != first.body) == (201, True)
        assert same(anew, await told.ask(host, "c", "k1"))
        assert await told.rows() == ["a", "b", "c"]


async def test_what_has_expired_is_swept_in_batches_and_nothing_else(roles: Roles) -> None:
    async with house(roles) as told:
        assert (await told.ask(told.host(told.make))).status == 201
        await run(
            roles.owner,
            "insert into switchgear.idempotency (scope, fingerprint, status, headers, kept_at)"
            " select decode(md5(n::text), 'hex'), '', 200, '[]', now() - interval '2 days'"
            " from generate_series(1, 2500) as n",
        )
        defects: list[Exception] = []
        async with forgetting(told.records, told.tables, defects.append):
            async with asyncio.timeout(15):
                while await told.kept() > 1:
                    await asyncio.sleep(0.05)
        assert (await told.kept(), defects) == (1, [])


async def test_a_server_that_is_away_is_looked_for_again_and_no_defect(roles: Roles) -> None:
    looks = 0

    class Away(PostgresTables):
        def transaction(self, deadline: float) -> Any:
            nonlocal looks
            looks += 1
            return super().transaction(deadline)

    tables, defects = Away(replace(roles.app, host="/nowhere")), list[Exception]()
    async with forgetting(PostgresRecords(1.0), tables, defects.append, every=0.01):
        async with asyncio.timeout(15):
            while looks < 3:
                await asyncio.sleep(0.01)
    await tables.close()
    assert defects == []


# Who comes between


async def test_who_gets_in_between_a_failure_and_its_record_has_the_last_word(
    roles: Roles,
) -> None:
    """The failed one answers what was done, and not what it did not."""
    async with house(roles) as told:
        rolled_back, done = asyncio.Event(), asyncio.Event()

        async def make(new: New, tx: Transaction) -> Item:
            item = await told.make(new, tx)
            if told.runs == 1:
                raise Fault(Code.NOT_FOUND)
            return item

        class Late(PostgresRecords):
            async def find(self, *given: Any, wait: bool = False) -> Record | None:
                if wait:
                    rolled_back.set()
                    await done.wait()
                return await super().find(*given, wait=wait)

        told.keeping = told.keeping._replace(records=Late(3600.0))
        host = told.host(make)
        failed = asyncio.ensure_future(told.ask(host))
        await rolled_back.wait()
        second = await until(partial(told.ask, host))
        done.set()
        assert second.status == 201
        assert same(second, await failed)
        assert (told.runs, await told.rows()) == (2, ["lamp"])
