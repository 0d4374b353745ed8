"""What smtplib and websockets raise when a real server fails them, in a policy told nothing."""

import asyncio
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
import websockets

from switchgear import BackoffSettings, Policy
from switchgear.policy.crossing import as_fault
from switchgear.policy.fault import Code, Effect
from switchgear.policy.verdict import effect_of

SOON = BackoffSettings(attempts=3, base=0.001, cap=0.002)
SENDER = "ann@example.org"

# Mail


@asynccontextmanager
async def post_office(**replies: str) -> AsyncIterator[tuple[int, list[str]]]:
    """A mail server that answers a verb as it is told to; "" hangs up."""
    usual = {"HELLO": "220 here", "DATA": "354 go on", "QUIT": "221 bye", ".": "250 kept"}
    told = usual | replies
    heard: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        verb, content = "HELLO", False
        while verb:
            reply = told.get(verb, "250 fine")
            if not content or verb == ".":
                if not reply:
                    break
                writer.write(reply.encode() + b"\r\n")
                content = verb == "DATA" and reply[0] == "3"
            words = (await reader.readline()).decode().split()
            verb = words[0].upper() if words else ("" if reader.at_eof() else "-")
            if not content:
                heard.append(verb)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        await server.wait_closed()


def send(port: int, *to: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="here", timeout=5.0) as mail:
        mail.sendmail(SENDER, to or ("bob@example.org",), "Subject: hello\r\n\r\nhello\r\n")


async def posted(mail: Policy, port: int, *to: str) -> Exception:
    with pytest.raises(smtplib.SMTPException) as caught:
        await mail.call_in_thread(send, port, *to)
    return caught.value


@pytest.mark.parametrize(
    ("replies", "kind", "code", "effect", "tried"),
    [
        ({"HELLO": "421 busy"}, smtplib.SMTPConnectError, Code.UNAVAILABLE, Effect.NONE, 3),
        ({"MAIL": "451 later"}, smtplib.SMTPSenderRefused, Code.UNAVAILABLE, Effect.NONE, 3),
        ({"RCPT": "450 busy"}, smtplib.SMTPRecipientsRefused, Code.ABORTED, Effect.NONE, 3),
        ({"RCPT": "550 who?"}, smtplib.SMTPRecipientsRefused,
         Code.FAILED_PRECONDITION, Effect.NONE, 1),
        ({".": "554 spam"}, smtplib.SMTPDataError, Code.FAILED_PRECONDITION, Effect.NONE, 1),
        ({".": ""}, smtplib.SMTPServerDisconnected, Code.UNAVAILABLE, Effect.UNKNOWN, 1),
    ],
)  # fmt: skip
async def test_a_letter_that_was_surely_not_taken_is_sent_again(
    replies: dict[str, str], kind: type, code: Code, effect: Effect, tried: int
) -> None:
    async with post_office(**replies) as (port, _):
        mail = Policy("mail", retry=SOON)  # not repeatable
        error = await posted(mail, port)
        assert type(error) is kind
        assert (as_fault(error).code, effect_of(error)) == (code, effect)
        assert mail.statistics()["budget"]["granted"] == tried - 1


async def test_letters_to_nobody_open_no_breaker() -> None:
    async with post_office(RCPT="550 who?") as (port, heard):
        mail = Policy("mail", retry=SOON)
        for _ in range(20):
            await posted(mail, port)
        assert heard.count("RCPT") == 20
        assert mail.statistics()["breaker"]["state"] == "closed"


# WebSockets


@asynccontextmanager
async def socket_server(code: int = 1000, status: int = 101) -> AsyncIterator[str]:
    """A server that refuses the handshake, or takes a message and closes."""

    async def serve(connection: websockets.ServerConnection) -> None:
        await connection.recv()
        await connection.close(code, "as told")

    def refuse(connection: websockets.ServerConnection, request: Any) -> Any:
        return None if status == 101 else connection.respond(HTTPStatus(status), "no\n")

    async with websockets.serve(serve, "127.0.0.1", 0, process_request=refuse) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def ask(url: str) -> Any:
    async with websockets.connect(url, proxy=None) as connection:
        await connection.send("hello")
        return await connection.recv()


@pytest.mark.parametrize(
    ("settings", "code", "effect", "state", "tried"),
    [
        ({"code": 1000}, Code.ABORTED, Effect.UNKNOWN, 0, 1),
        ({"code": 1008}, Code.PERMISSION_DENIED, Effect.UNKNOWN, 0, 1),
        ({"code": 1011}, Code.INTERNAL, Effect.UNKNOWN, 1, 1),
        ({"code": 1012}, Code.UNAVAILABLE, Effect.UNKNOWN, 1, 1),
        ({"code": 4001}, Code.FAILED_PRECONDITION, Effect.UNKNOWN, 0, 1),
        ({"status": 404}, Code.NOT_FOUND, Effect.NONE, 0, 1),
        ({"status": 503}, Code.UNAVAILABLE, Effect.NONE, 3, 3),
    ],
)
async def test_how_a_websocket_ends_says_whether_the_other_side_is_well(
    settings: dict[str, int], code: Code, effect: Effect, state: int, tried: int
) -> None:
    async with socket_server(**settings) as url:
        feed = Policy("feed", retry=SOON)  # not repeatable
        with pytest.raises(websockets.WebSocketException) as caught:
            await feed.call(ask, url)
        assert (as_fault(caught.value).code, effect_of(caught.value)) == (code, effect)
        statistics = feed.statistics()
        assert statistics["breaker"]["consecutive"] == state
        assert statistics["budget"]["granted"] == tried - 1


async def test_a_message_that_is_too_long_for_us_is_no_answer() -> None:
    async def serve(connection: websockets.ServerConnection) -> None:
        await connection.send("long" * 100)
        await connection.wait_closed()

    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        async with websockets.connect(url, proxy=None, max_size=10) as connection:
            with pytest.raises(websockets.ConnectionClosedError) as caught:
                await connection.recv()
    assert as_fault(caught.value).code is Code.UNAVAILABLE
