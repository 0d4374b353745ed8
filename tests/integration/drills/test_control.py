"""The proxy as a process, steered through its control."""

import asyncio
from pathlib import Path

import pytest

from switchgear.drills.address import Address, dial
from switchgear.drills.control import Control, Refused, Remote
from switchgear.drills.injection import Cut, Delay, Refuse
from switchgear.drills.process import Process
from switchgear.drills.proxy import Proxy

ANY = Address("127.0.0.1")


@pytest.mark.parametrize("control", ["127.0.0.1:0", "unix"])
async def test_a_proxy_process_is_steered_while_it_runs(tmp_path: Path, control: str) -> None:
    asked = f"unix:{tmp_path / 'c'}" if control == "unix" else control
    server = await asyncio.start_server(_greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    arguments = ["--to", f"127.0.0.1:{port}", "--control", asked, "--seed", "11"]
    async with server, await Process.start("switchgear.drills.proxy", *arguments) as proxy:
        assert proxy.facts["seed"] == 11
        front = Address.parse(proxy.facts["listening"])
        async with Remote(Address.parse(proxy.facts["control"])) as remote:
            assert await _greeting(front) == b"hello"
            number = await remote.inject(Cut(direction="down", after_bytes=2))
            assert await _greeting(front) == b"he"
            assert (await remote.statistics())["active"] == {str(number): "cut"}
            await remote.heal(number)
            assert await _greeting(front) == b"hello"
            await remote.inject(Refuse())
            with pytest.raises(ConnectionRefusedError):
                await dial(front)
            assert await remote.injected() == 2
            with pytest.raises(Refused, match="no injection 99"):
                await remote.heal(99)
        proxy.signal(15)
        last = await proxy.line()
        assert last["injected"] == {"cut": 1, "refuse": 1}
        assert last["accepted"] == 3


async def test_a_proxy_ends_with_its_starter() -> None:
    proxy = await Process.start("switchgear.drills.proxy", "--to", "127.0.0.1:9")
    assert await proxy.ended() == 0


async def test_a_line_that_cannot_be_carried_out_is_answered_and_the_next_is_read() -> None:
    async with Proxy(ANY, ANY, seed=1) as proxy:
        control = Control(ANY, proxy)
        await control.start()
        reader, writer = await dial(control.address)
        writer.write(
            b'not json\n{"do": "dance"}\n{"do": "inject", "injection": {"kind": "melt"}}\n'
        )
        writer.write(b'{"do": "statistics"}\n')
        answers = [await reader.readline() for _ in range(4)]
        assert [b'"ok":false' in answer for answer in answers] == [True, True, True, False]
        assert b"melt" in answers[2]
        writer.close()
        await control.close()


async def test_a_control_does_not_listen_for_other_machines() -> None:
    async with Proxy(ANY, ANY, seed=1) as proxy:
        with pytest.raises(ValueError, match=r"not on 0\.0\.0\.0:0"):
            Control(Address("0.0.0.0"), proxy)


async def test_a_closed_control_says_so() -> None:
    async with Proxy(ANY, ANY, seed=1) as proxy:
        control = Control(ANY, proxy)
        await control.start()
        async with Remote(control.address) as remote:
            await remote.inject(Delay(seconds=1))
            await control.close()
            with pytest.raises(ConnectionError):
                await remote.statistics()


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()


async def _greeting(address: Address) -> bytes:
    reader, writer = await dial(address)
    try:
        return await reader.read()
    finally:
        writer.close()
