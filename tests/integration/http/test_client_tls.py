"""TLS to upstreams with certificates that are right, and with those that are not."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from switchgear.http.message import Response, StreamResponse
from switchgear.http.pool import Pool
from switchgear.http.refusals import reason_of, status_of
from switchgear.http.server import Server
from switchgear.http.settings import ClientSettings, TlsSettings
from switchgear.http.tls import client_context
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.verdict import Health, judge
from tests.integration.http.harness import call, echo, listen
from tests.support.authority import LOOPBACK, Authority

pytestmark = pytest.mark.usefixtures("loop_factory")

NAME = "users.internal"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "theirs")


class Upstream:
    """A TLS server that answers by the path, and knows who has asked."""

    def __init__(self) -> None:
        self.port = 0
        self.asked = 0
        self.peers: list[Any] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(writer.get_extra_info("peercert"))
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def upstream(certificate: Path, client: Authority | None = None) -> AsyncIterator[Upstream]:
    # Handshakes that fail are the subject here, and not news.
    asyncio.get_running_loop().set_exception_handler(lambda _, context: None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if client is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client.file)
    running = Upstream()
    server = await asyncio.start_server(running.talk, "127.0.0.1", 0, ssl=context)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        await asyncio.sleep(0.02)


async def asked(port: int, tls: TlsSettings, **given: Any) -> Response:
    pool = Pool("127.0.0.1", port, tls=tls, name="upstream", **given)
    try:
        return await pool(call(repeatable=True))
    finally:
        await pool.close()
        await asyncio.sleep(0.02)


async def test_the_right_certificate_is_believed(loop_factory: Any, authority: Authority) -> None:
    ours = TlsSettings(ca_file=str(authority.file))
    async with upstream(authority.issue(LOOPBACK)) as server:
        assert (await asked(server.port, ours)).body == b"ok"


async def test_the_name_that_is_asked_for_is_the_one_that_counts(
    loop_factory: Any, authority: Authority
) -> None:
    named = TlsSettings(ca_file=str(authority.file), server_name=NAME)
    async with upstream(authority.issue(NAME)) as server:
        assert (await asked(server.port, named)).body == b"ok"


WRONG = ["another host", "expired", "self-signed", "another authority", "the system's authorities"]


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_certificate_that_cannot_be_believed_is_a_fault_that_no_attempt_mends(
    loop_factory: Any, authority: Authority, stranger: Authority, wrong: str
) -> None:
    certificate = {
        "another host": lambda: authority.issue("other.internal"),
        "expired": lambda: authority.issue(LOOPBACK, days=-1),
        "self-signed": lambda: authority.issue(LOOPBACK, own=True),
        "another authority": lambda: stranger.issue(LOOPBACK),
        "the system's authorities": lambda: authority.issue(LOOPBACK),
    }[wrong]()
    ca = "" if wrong.startswith("the system") else str(authority.file)
    async with upstream(certificate) as server:
        with pytest.raises(Fault, match="certificate cannot be believed") as caught:
            await asked(server.port, TlsSettings(ca_file=ca))
        assert server.asked == 0
    assert (caught.value.code, caught.value.effect) == (Code.INTERNAL, Effect.NONE)
    assert (status_of(caught.value), reason_of(caught.value)) == (502, "certificate")
    assert judge(caught.value).health is Health.BAD
    assert not judge(caught.value).again


async def test_an_upstream_may_ask_who_we_are(
    loop_factory: Any, authority: Authority, stranger: Authority
) -> None:
    ca = str(authority.file)
    async with upstream(authority.issue(LOOPBACK), client=stranger) as server:
        with pytest.raises(Fault):
            await asked(server.port, TlsSettings(ca_file=ca))
        assert server.asked == 0
        ours = TlsSettings(ca_file=ca, certificate=str(stranger.issue("gateway")))
        assert (await asked(server.port, ours)).body == b"ok"
        assert server.peers[-1]["subjectAltName"] == (("DNS", "gateway"),)


async def test_a_server_without_tls_is_no_upstream(loop_factory: Any, authority: Authority) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    with pytest.raises(Fault, match="no connection") as caught:
        await asked(server.sockets[0].getsockname()[1], TlsSettings(ca_file=str(authority.file)))
    assert (caught.value.code, caught.value.effect) == (Code.UNAVAILABLE, Effect.NONE)
    server.close()


async def test_a_handshake_that_hangs_is_cut_by_the_connect_deadline(
    loop_factory: Any, authority: Authority
) -> None:
    left = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    pool = Pool(
        "127.0.0.1",
        server.sockets[0].getsockname()[1],
        ClientSettings(connect_timeout=0.1),
        tls=TlsSettings(ca_file=str(authority.file)),
    )
    with pytest.raises(Fault, match=r"none within 0\.1 s") as caught:
        await pool(call(within=30))
    assert (caught.value.code, caught.value.effect) == (Code.UNAVAILABLE, Effect.NONE)
    await asyncio.wait_for(left.wait(), 5)
    told = pool.statistics()
    assert (told["open"], told["dialling"], told["failures"]) == (0, 0, 1)
    await pool.close()
    server.close()


def test_nothing_older_than_1_2_is_spoken_and_names_are_checked() -> None:
    context = client_context(TlsSettings())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_context_that_verifies_nothing_is_refused() -> None:
    nobody = ssl.create_default_context()
    nobody.check_hostname = False
    with pytest.raises(ValueError, match="verifies no certificate or no name"):
        Pool("127.0.0.1", 1, tls=nobody)
    nobody.verify_mode = ssl.CERT_NONE
    with pytest.raises(ValueError, match="verifies no certificate or no name"):
        Pool("127.0.0.1", 1, tls=nobody)


@pytest.mark.parametrize("shared", [False, True])
def test_without_a_name_to_verify_there_is_no_pool(authority: Authority, shared: bool) -> None:
    """A unix socket has none; OpenSSL would take any certificate of whom is believed."""
    given = TlsSettings(ca_file=str(authority.file))
    tls = client_context(given) if shared else given
    with pytest.raises(ValueError, match="needs a name"):
        Pool(path="/run/users.sock", tls=tls)


async def test_the_name_counts_over_a_unix_socket_too(
    loop_factory: Any, authority: Authority, tmp_path: Path
) -> None:
    believed = str(authority.file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.issue(NAME))
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    server = Server(echo)
    await server.start(sock, tls=context)
    path, other = str(tmp_path / "s"), TlsSettings(believed, server_name="other.internal")
    pools = [
        Pool(path=path, tls=TlsSettings(believed, server_name=NAME)),
        Pool(NAME, path=path, tls=client_context(TlsSettings(believed))),
        Pool(path=path, tls=other),
    ]
    try:
        for pool in pools[:2]:
            assert (await pool(call())).status == 200
        with pytest.raises(Fault, match="cannot be believed"):
            await pools[2](call())
    finally:
        for pool in pools:
            await pool.close()
        await server.stop()


def test_a_file_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(FileNotFoundError):
        Pool("127.0.0.1", 1, tls=TlsSettings(ca_file="/nowhere/ca.pem"))


@pytest.mark.parametrize("notify", [True, False])
async def test_a_body_until_the_close_is_cut_where_the_close_was_not_announced(
    loop_factory: Any, authority: Authority, notify: bool
) -> None:
    """Anybody on the way can end a TCP connection; only the upstream can end the TLS on it."""
    asyncio.get_running_loop().set_exception_handler(lambda _, context: None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(LOOPBACK))
    sock = listen()

    def serve() -> None:
        raw, _ = sock.accept()
        raw.settimeout(10)
        wrapped = context.wrap_socket(raw, server_side=True)
        wrapped.recv(65536)
        wrapped.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc")
        if notify:
            wrapped.unwrap().close()
        else:
            socket.socket(fileno=wrapped.detach()).close()
        wrapped.close()

    server = asyncio.get_running_loop().run_in_executor(None, serve)
    tls = TlsSettings(ca_file=str(authority.file))
    pool = Pool("127.0.0.1", sock.getsockname()[1], tls=tls)
    answer = await pool(call())
    assert isinstance(answer, StreamResponse)
    if notify:
        assert await answer.read() == b"abc"
    else:
        with pytest.raises(Fault) as caught:
            await answer.read()
        assert caught.value.code is Code.UNAVAILABLE
    await server
    await pool.close()
    await asyncio.sleep(0.02)
    sock.close()
