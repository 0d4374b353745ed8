"""TLS and unix sockets: the same server and pool on other transports."""

import asyncio
import datetime as dt
import ipaddress
import json
import random
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect

from switchgear.http.headers import Headers
from switchgear.http.message import Response
from switchgear.http.pool import Pool
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings
from tests.integration.http.harness import Raw, answers, call, echo, listen, pooled, serving
from tests.integration.http.test_websocket import echo as repeat
from tests.integration.http.test_websocket import endpoint

pytestmark = pytest.mark.usefixtures("loop_factory")


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    folder: Path = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=folder / "cert.pem")


async def test_requests_and_refusals_over_tls(
    loop_factory: Any, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    theirs, ours = contexts
    server = Server(echo, ServerSettings(linger=0.1), drive=Drive.EAGER)
    await server.start(listen(), tls=theirs)
    pool = Pool("127.0.0.1", server.port, tls=ours)
    assert server.scheme == "https"
    for size in (0, 10, 900_000):
        answer = await pool(call("POST", "/", body=b"x" * size))
        assert len(json.loads(await answer.read())["body"]) == size
    assert pool.counters.connects == 1
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=ours)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await writer.wait_closed()
    await pool.close()
    assert await server.drain(2)


@pytest.mark.parametrize(("before", "behind"), [(True, False), (False, True), (True, True)])
async def test_long_answers_are_read_and_written_where_either_side_is_encrypted(
    loop_factory: Any, contexts: tuple[ssl.SSLContext, ssl.SSLContext], before: bool, behind: bool
) -> None:
    """From socket to socket, a client would get what was encrypted for us, or what is not."""
    theirs, ours = contexts
    body = random.Random(3).randbytes(3 << 20)

    async def long(_: Any) -> Response:
        return Response(200, Headers(), body)

    upstream = Server(long, ServerSettings())
    await upstream.start(listen(), tls=theirs if behind else None)
    pool = Pool("127.0.0.1", upstream.port, tls=ours if behind else None)
    gateway = Server(pool, ServerSettings(splice_bytes=1), drive=Drive.EAGER)
    await gateway.start(listen(), tls=theirs if before else None)
    client = Pool("127.0.0.1", gateway.port, tls=ours if before else None)
    for _ in range(2):
        answer = await client(call("GET", "/"))
        assert await answer.read() == body
    assert gateway.counters.spliced == 0
    await client.close()
    await gateway.stop()
    await pool.close()
    await upstream.stop()


async def test_who_is_still_sending_over_tls_gets_the_refusal(
    loop_factory: Any, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """There is no half-close in TLS as it is here: the end is said after the lingering."""
    theirs, ours = contexts

    def send(port: int) -> bytes:
        raw = socket.create_connection(("127.0.0.1", port), timeout=30)
        with ours.wrap_socket(raw, server_hostname="127.0.0.1") as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n")
            for _ in range(400):
                client.sendall(b"x" * 50_000)
                time.sleep(0.001)
            got = b""
            while part := client.recv(65536):  # an end without a goodbye would raise
                got += part
            return got

    server = Server(echo, ServerSettings(linger=0.5))
    await server.start(listen(), tls=theirs)
    (answer,) = answers(await asyncio.to_thread(send, server.port), ["POST"])
    assert answer.status == 413
    assert await server.drain(5)


async def test_a_goodbye_over_tls_through_a_gateway_is_answered_by_the_end(
    loop_factory: Any, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """The end is said after the lingering there: a client's `close` took all of that time."""
    theirs, ours = contexts
    async with serving(endpoint(repeat)) as service, pooled(service.port) as pool:
        server = Server(pool, ServerSettings(linger=60.0), drive=Drive.EAGER)
        await server.start(listen(), tls=theirs)
        where = f"wss://127.0.0.1:{server.port}/ws"
        try:
            async with asyncio.timeout(10):
                async with connect(where, ssl=ours, close_timeout=None) as client:
                    await client.send("hello")
                    assert await client.recv() == "hello"
                assert client.close_code == 1000
                while server.connections:
                    await asyncio.sleep(0.01)
        finally:
            await server.stop()


async def test_a_handshake_that_hangs_is_given_up(
    loop_factory: Any, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: None)
    server = Server(echo, ServerSettings(head_timeout=0.1))
    await server.start(listen(), tls=contexts[0])
    client = await Raw.to(server.port)
    assert await client.rest() == b""
    await client.close()
    await server.stop()


async def test_a_unix_socket_serves_too(loop_factory: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    server = Server(echo)
    await server.start(sock)
    pool = Pool(path=str(path))
    got = json.loads(await (await pool(call("GET", "/a"))).read())
    assert got["path"] == "/a"
    assert ["host", "localhost"] in got["headers"]
    await pool.close()
    assert await server.drain(2)
