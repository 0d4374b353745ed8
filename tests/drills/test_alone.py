"""Every role run by itself, as containers do, on an external database: together, a system."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from switchgear.drills.address import Address
from switchgear.engines.postgres.dsn import Dsn
from tests.drills.system import MAIL, PASSWORD, fetch
from tools.ports import free_port
from tools.source import ROOT, SOURCE

pytestmark = pytest.mark.timeout(120)

TOKEN = "a token that operators of drills have"


class Admin(NamedTuple):
    """The admin port of a process that runs singly."""

    address: Address

    async def ask(self, path: str, token: str = TOKEN) -> tuple[int, bytes]:
        """Ask it for a page."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return await fetch(self.address, "GET", path, headers=headers)


@asynccontextmanager
async def alone(role: str, data: Path, port: int, dsn: Dsn, **peers: int) -> AsyncIterator[Admin]:
    """Run one role until the block ends, and see it drain; gives its admin port."""
    admin = Admin(Address("127.0.0.1", free_port()))
    code = "from switchgear.cli import main; main()"
    flags = ["--port", str(port), "--data", str(data / role), f"--admin={admin.address.port}"]
    configured = "\n".join(f'{name} = ["tcp:127.0.0.1:{at}"]' for name, at in peers.items())
    config = data / f"{role}.toml"
    config.write_text(
        '[database]\nurl = { env = "DRILL_DATABASE" }\n'
        '[trust]\ninternal_key = { env = "DRILL_KEY" }\nadmin_token = { env = "DRILL_TOKEN" }\n'
        "[supervisor]\nlame_duck = 0.5\n"
        '[accounts]\ndefault_scopes = ["user:write"]\n'
        f"[peers]\n{configured}\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", code, "run", role, "examples/community", *flags, "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "DRILL_DATABASE": dsn.url(),
            "DRILL_KEY": "0123456789abcdef0123456789abcdef",
            "DRILL_TOKEN": TOKEN,
        },
        limit=1 << 24,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while b'"event":"ready"' not in (line := await process.stdout.readline()):
                assert line, f"{role} ended"
        reading = asyncio.create_task(process.stdout.read())
        assert (await admin.ask("/health/ready", ""))[0] == 200
        yield admin
        process.terminate()
        if role != "worker":
            async with asyncio.timeout(0.5):  # it goes on for a while, and says that it will not
                while (await admin.ask("/health/ready", ""))[0] != 503:
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
        await reading
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_roles_that_run_alone_make_a_system(postgres: Dsn, tmp_path: Path) -> None:
    front, service, accounts = free_port(), free_port(), free_port()
    gateway = Address("127.0.0.1", front)
    admins: dict[str, Admin] = {}
    async with AsyncExitStack() as held:
        for role, port in (("service", service), ("accounts", accounts), ("worker", free_port())):
            one = alone(role, tmp_path, port, postgres)
            admins[role] = await held.enter_async_context(one)
        peers = {"service": service, "accounts": accounts}
        one = alone("gateway", tmp_path, front, postgres, **peers)
        admins["gateway"] = await held.enter_async_context(one)
        who = {"email": MAIL, "password": PASSWORD}
        assert (await fetch(gateway, "POST", "/accounts", who))[0] == 202
        status, body = await fetch(gateway, "POST", "/tokens", who)
        assert status == 201, body
        token = json.loads(body)["access_token"]
        headers = {"authorization": f"Bearer {token}"}
        new = {"name": "Grace", "email": "grace@example.org"}
        status, body = await fetch(gateway, "POST", "/users", new, headers=headers)
        assert status == 201, body
        path = f"/users/{json.loads(body)['id']}"
        async with asyncio.timeout(5):
            while b'"welcomed_at":null' in (await fetch(gateway, "GET", path))[1]:
                await asyncio.sleep(0.05)
        for role, admin in admins.items():
            assert (await admin.ask("/metrics", ""))[0] == 401
            status, page = await admin.ask("/metrics")
            assert status == 200
            assert f'process_cpu_seconds_total{{process="{role}-1"}}'.encode() in page
            told = json.loads((await admin.ask("/status"))[1])
            assert [row["label"] for row in told["rows"]] == [f"{role}-1"]
        page = (await admins["worker"].ask("/metrics"))[1]
        for state in ("ready", "dead"):
            series = f'queue_messages{{process="worker-1",topic="user.created",state="{state}"}} 0'
            assert series.encode() in page
