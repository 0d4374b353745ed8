"""Tokens through a gateway: whose keys are known goes on, and nobody is called a liar wrongly."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import switchgear.accounts
from switchgear import App, Call, Code, Fault, Principal, Request, Response
from switchgear.accounts.settings import AccountsSettings
from switchgear.assembly.bodies.trust import trusting
from switchgear.assembly.routes import ENDED, KEYS
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.migrations import migrate
from switchgear.engines.postgres.queue import install
from switchgear.gateway.settings import GatewaySettings, Limit
from switchgear.gateway.upstream import Member, Upstream
from switchgear.identity.keys import SigningKey
from switchgear.identity.passwords import PasswordSettings
from switchgear.identity.tokens import Minter, TokenSettings
from tests.integration.http.harness import Answer, ask
from tests.support.bodies import Role, Stand, quick, standing
from tests.support.postgres import run

pytestmark = pytest.mark.timeout(60)

CHEAP = AccountsSettings(
    default_scopes=("read",),
    passwords=PasswordSettings(rounds=1, memory_kib=64, queue=64),
    refresh_grace=0.0,
)
WHO = {"email": "ada@example.org", "password": "correct horse battery"}


def community() -> App:
    app = App("toys")

    @app.get("/mine", scope="read")
    async def mine(who: Principal) -> str:
        return who.subject

    @app.get("/theirs", scope="write")
    async def theirs() -> str:
        return "theirs"

    @app.get("/open", public=True)
    async def open_to_all() -> str:
        return "open"

    return app


async def prepare(roles: Roles) -> None:
    await install(roles.owner)
    migrations = Path(switchgear.accounts.__file__).with_name("migrations")
    await migrate(roles.accounts, migrations, "accounts", ledger="accounts.migrations_applied")


@asynccontextmanager
async def house(folder: Path, roles: Roles, **gateway: Any) -> AsyncIterator[Stand]:
    await prepare(roles)
    settings = quick(accounts=CHEAP, gateway=GatewaySettings(**gateway))
    names = ("accounts", "service", "gateway")
    async with standing(folder, community(), *names, settings=settings, roles=roles) as stand:
        yield stand


async def post(stand: Stand, target: str, body: object) -> Answer:
    sent = json.dumps(body).encode()
    head = (
        f"POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
    )
    (found,) = await ask(stand.port, head.encode() + sent, ("POST",))
    return found


async def get(stand: Stand, target: str, token: str = "") -> Answer:
    lines = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n"
    (found,) = await ask(stand.port, head.encode())
    return found


async def session(stand: Stand) -> dict[str, str]:
    assert (await post(stand, "/accounts", WHO)).status == 202
    found = await post(stand, "/tokens", WHO)
    assert (found.status, found.headers["cache-control"]) == (201, "no-store")
    held: dict[str, str] = json.loads(found.body)
    return held


async def sign_in(stand: Stand) -> str:
    return (await session(stand))["access_token"]


def asked_for_keys(accounts: Role) -> float:
    """Count how often a process of accounts has published its keys."""
    told = accounts.context.registry.snapshot()
    (requests,) = [one for one in told if one.name == "http_requests_total"]
    return sum(one.value for one in requests.series if KEYS.name in one.labels)


def forged(issuer: str = "switchgear") -> str:
    """Sign a token by a key of one's own."""
    minter = Minter(SigningKey.generate(), TokenSettings(issuer, "switchgear"))
    return minter.mint(Principal("ada", scopes=frozenset({"read", "write"})), time.time())


async def test_a_token_opens_what_it_bears(tmp_path: Path, roles: Roles) -> None:
    async with house(tmp_path, roles) as stand:
        token = await sign_in(stand)
        mine = await get(stand, "/mine", token)
        assert mine.status == 200
        assert (await get(stand, "/theirs", token)).status == 403
        assert (await get(stand, "/mine")).status == 401
        assert (await get(stand, "/mine", token[:-4] + "AAAA")).status == 401
        (line, *_) = [one for one in stand.logged("request") if one["path"] == "/mine"]
        assert f'"{line["principal"]}"'.encode() == mine.body


async def test_an_unknown_key_is_401_while_accounts_answer_and_503_while_they_do_not(
    tmp_path: Path, roles: Roles
) -> None:
    async with house(tmp_path, roles) as stand:
        token = await sign_in(stand)
        assert (await get(stand, "/mine", token)).status == 200
        other = forged()
        assert (await get(stand, "/mine", other)).status == 401
        await stand.running[0].kill()
        # Known tokens, and new ones by a known key, need nobody else.
        assert (await get(stand, "/mine", token)).status == 200
        door = await stand.start("gateway", 2)  # one that has not seen any key yet
        await stand.running[2].drain()
        unknown = await get(stand, "/mine", token)
        assert unknown.status == 503
        assert json.loads(unknown.body)["code"] == "unavailable"
        assert "retry-after" in unknown.headers
        assert (await get(stand, "/open")).status == 200
        assert (await post(stand, "/tokens", WHO)).status == 503
        await stand.start("accounts", 1, generation=2)
        async with asyncio.timeout(10):
            while (await get(stand, "/mine", token)).status != 200:
                await asyncio.sleep(0.2)
        assert door.state == "ready"


async def test_a_withdrawn_key_is_believed_no_more(tmp_path: Path, roles: Roles) -> None:
    async with house(tmp_path, roles, keys_every=0.2) as stand:
        token = await sign_in(stand)
        assert (await get(stand, "/mine", token)).status == 200
        await run(roles.accounts, "update signing_key set retired_at = now()")
        await stand.running[0].kill()
        await stand.start("accounts", 1, generation=2)
        async with asyncio.timeout(10):
            while (await get(stand, "/mine", token)).status != 401:
                await asyncio.sleep(0.1)
        assert (await get(stand, "/mine", await sign_in(stand))).status == 200


async def test_a_session_that_was_copied_ends_at_every_gateway_within_seconds(
    tmp_path: Path, roles: Roles
) -> None:
    async with house(tmp_path, roles) as stand:
        copied, other = await session(stand), await session(stand)
        spent = {"refresh_token": copied["refresh_token"]}
        renewed = await post(stand, "/tokens/refresh", spent)
        tokens = copied["access_token"], json.loads(renewed.body)["access_token"]
        for token in (*tokens, other["access_token"]):
            assert (await get(stand, "/mine", token)).status == 200
        assert (await post(stand, "/tokens/refresh", spent)).status == 401  # by a thief, or not
        async with asyncio.timeout(5):
            while {(await get(stand, "/mine", token)).status for token in tokens} != {401}:
                await asyncio.sleep(0.1)
        assert (await get(stand, "/mine", other["access_token"])).status == 200
        assert (await get(stand, ENDED.path)).status == 404  # which is for gateways
        await stand.start("gateway", 2)  # one that was not there when it ended
        await stand.running[2].drain()
        async with asyncio.timeout(5):
            while {(await get(stand, "/mine", token)).status for token in tokens} != {401}:
                await asyncio.sleep(0.1)
        assert (await get(stand, "/mine", other["access_token"])).status == 200


class Freezer:
    """What stands before a process, and has it hang for a while: nothing comes through."""

    def __init__(self) -> None:
        self.thawed = asyncio.Event()
        self.thawed.set()

    @asynccontextmanager
    async def before(self, path: Path) -> AsyncIterator[None]:
        behind = path.rename(path.with_suffix(".behind"))

        async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far, to = await asyncio.open_unix_connection(behind)
            await asyncio.gather(self._pass(reader, to), self._pass(far, writer))

        server = await asyncio.start_unix_server(joined, path)
        try:
            yield
        finally:
            server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.thawed.wait()
            writer.write(data)
        writer.close()


async def test_what_has_ended_while_accounts_hung_is_heard_of_when_they_answer_again(
    tmp_path: Path, roles: Roles
) -> None:
    """Not when the breaker of that question has closed: it protects nobody (rule 33)."""
    await prepare(roles)
    settings = quick(accounts=CHEAP, gateway=GatewaySettings(ended_every=0.2, keys_every=0.2))
    names = ("accounts", "service")
    freezer = Freezer()
    async with (
        standing(tmp_path, community(), *names, settings=settings, roles=roles) as stand,
        freezer.before(tmp_path / "accounts-1.1"),
    ):
        await stand.start("gateway")
        held = await session(stand)
        assert (await get(stand, "/mine", held["access_token"])).status == 200
        freezer.thawed.clear()
        for _ in range(150):
            if [one for one in stand.logged("breaker") if ENDED.name in one["breaker"]]:
                await asyncio.sleep(2.0)  # its own, and then that of the service
                break
            await asyncio.sleep(0.1)
        await run(roles.accounts, "update family set revoked = true")
        freezer.thawed.set()
        async with asyncio.timeout(3):  # of which 1.8 are the patience of a question
            while (await get(stand, "/mine", held["access_token"])).status != 401:
                await asyncio.sleep(0.1)


async def test_many_unknown_keys_cost_accounts_one_question(tmp_path: Path, roles: Roles) -> None:
    async with house(tmp_path, roles) as stand:
        found = await asyncio.gather(*(get(stand, "/mine", forged()) for _ in range(20)))
        assert {one.status for one in found} == {401}
        assert asked_for_keys(stand.running[0]) == 1


async def test_the_keys_are_known_before_the_first_token_comes(
    tmp_path: Path, roles: Roles
) -> None:
    """Asked for by the first token they may be missing for 5 s: accounts are slower to start."""
    settings = quick(accounts=CHEAP, gateway=GatewaySettings(keys_every=600.0))
    names = ("service", "gateway")
    await prepare(roles)
    async with standing(tmp_path, community(), *names, settings=settings, roles=roles) as stand:
        assert (await get(stand, "/mine", forged())).status == 503
        told = await stand.start("accounts")
        async with asyncio.timeout(10):
            while not asked_for_keys(told):
                await asyncio.sleep(0.05)
        assert (await get(stand, "/mine", await sign_in(stand))).status == 200
        assert asked_for_keys(told) == 1


@pytest.mark.parametrize(
    "token",
    ["x", "a.b.c", "..", "\xe9.\xe9.\xe9", "e30.e30.", "eyJhbGciOiJub25lIn0.e30.", "x" * 5000],
)
async def test_what_is_no_token_is_401(tmp_path: Path, roles: Roles, token: str) -> None:
    async with house(tmp_path, roles) as stand:
        head = b"GET /mine HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer "
        (found,) = await ask(stand.port, head + token.encode("latin-1") + b"\r\n\r\n")
        assert found.status == 401
        assert json.loads(found.body)["detail"]


async def test_guessing_passwords_is_limited_and_locks_nobody_out(
    tmp_path: Path, roles: Roles
) -> None:
    async with house(tmp_path, roles, sign_in=Limit(2, 5)) as stand:
        await sign_in(stand)
        wrong = {**WHO, "password": "a wrong password"}
        statuses = [(await post(stand, "/tokens", wrong)).status for _ in range(6)]
        assert statuses[0] == 401
        assert statuses[-1] == 429
        assert (await get(stand, "/open")).status == 200
        await asyncio.sleep(1.0)
        assert (await post(stand, "/tokens", WHO)).status == 201


class Hanging:
    """Connections to a process that never answers."""

    async def __call__(self, call: Call[Request], /) -> Response:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("it hangs for good")

    async def close(self) -> None: ...


async def test_who_waits_for_keys_at_the_end_is_told_so(tmp_path: Path) -> None:
    """And no question is left open: the test's own runner looks."""
    upstream = Upstream("accounts", GatewaySettings(), lambda *_: Hanging(), random=lambda: 0.5)
    upstream.update([Member("accounts-1", "unix:/nowhere", 1, routable=True)])
    async with standing(tmp_path, community(), "service") as stand:
        async with trusting(stand.running[0].context, upstream) as trust:
            asked = asyncio.ensure_future(trust.authenticate(forged()))
            await asyncio.sleep(0.05)
        with pytest.raises(Fault) as told:
            await asyncio.wait_for(asked, 1.0)  # not when its patience has ended
        assert told.value.code is Code.UNAVAILABLE
        await upstream.close()


async def test_the_gateway_closes_its_keys_when_it_is_drained(tmp_path: Path, roles: Roles) -> None:
    async with house(tmp_path, roles, keys_every=0.01) as stand:
        await sign_in(stand)
        await stand.running[2].drain()  # no task is left: the test's own runner looks
        assert stand.running[2].task.done()
