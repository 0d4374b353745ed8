"""Every role run by itself, as containers do, on an external database: together, a system."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from switchgear.drills.address import Address
from switchgear.engines.postgres.dsn import Dsn
from tests.drills.system import MAIL, PASSWORD, fetch
from tools.ports import free_port
from tools.source import ROOT, SOURCE

pytestmark = pytest.mark.timeout(120)


@asynccontextmanager
async def alone(role: str, data: Path, port: int, dsn: Dsn, **peers: int) -> AsyncIterator[None]:
    """Run one role until the block ends, and see it drain."""
    code = "from switchgear.cli import main; main()"
    flags = ["--port", str(port), "--data", str(data / role)]
    configured = "\n".join(f'{name} = ["tcp:127.0.0.1:{at}"]' for name, at in peers.items())
    config = data / f"{role}.toml"
    config.write_text(
        '[database]\nurl = { env = "DRILL_DATABASE" }\n'
        '[trust]\ninternal_key = { env = "DRILL_KEY" }\n'
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
        },
        limit=1 << 24,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while b'"event":"ready"' not in (line := await process.stdout.readline()):
                assert line, f"{role} ended"
        reading = asyncio.create_task(process.stdout.read())
        yield
        process.terminate()
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
    async with AsyncExitStack() as held:
        for role, port in (("service", service), ("accounts", accounts), ("worker", free_port())):
            await held.enter_async_context(alone(role, tmp_path, port, postgres))
        peers = {"service": service, "accounts": accounts}
        await held.enter_async_context(alone("gateway", tmp_path, front, postgres, **peers))
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
