"""What is wrong is told so: each wrong request, and the words that come back."""

import json
import socket
import threading
from http.client import HTTPResponse

import pytest

from tests.e2e.asking import NEW, post, refused
from tests.e2e.running import Answer, Running


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b'{"name": "a"} trailing', "not valid JSON"),
    ],
)
def test_a_body_that_is_no_json(community: Running, token: str, body: bytes, words: str) -> None:
    refused(post(community, token, body), 400, "invalid_argument", words)


def test_wrong_types_are_listed_by_their_json_pointers(community: Running, token: str) -> None:
    answer = post(community, token, {"name": 7, "email": ["a"]})
    problem = refused(answer, 422, "invalid_argument")
    assert {error["pointer"] for error in problem["errors"]} == {"/name", "/email"}
    assert all(error["detail"] for error in problem["errors"])


def test_wrong_values_missing_and_unknown_fields_are_listed_all_at_once(
    community: Running, token: str
) -> None:
    problem = refused(post(community, token, {"name": "", "mail": "x"}), 422, "invalid_argument")
    assert {error["pointer"] for error in problem["errors"]} == {"/name", "/email", "/mail"}


def test_a_field_that_is_given_twice(community: Running, token: str) -> None:
    body = b'{"name": "a", "name": "b", "email": "a@example.org"}'
    problem = refused(post(community, token, body), 422, "invalid_argument", "more than once")
    assert [error["pointer"] for error in problem["errors"]] == ["/name"]


def test_a_body_that_is_no_object(community: Running, token: str) -> None:
    problem = refused(post(community, token, [1, 2]), 422, "invalid_argument")
    assert [error["pointer"] for error in problem["errors"]] == [""]


def test_a_wrong_query_and_a_wrong_path(community: Running) -> None:
    problem = refused(community.ask("GET", "/users?limit=1000&after=x"), 422, "invalid_argument")
    assert len(problem["errors"]) == 2
    refused(community.ask("GET", "/users/not-a-uuid"), 422, "invalid_argument", "id")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_a_content_type_that_is_not_json(community: Running, token: str, kind: str) -> None:
    answer = post(community, token, NEW, content_type=kind)
    refused(answer, 415, "invalid_argument", "application/json")


def test_a_body_of_two_mebibytes_is_refused_and_its_sender_reads_so(
    community: Running, token: str
) -> None:
    """The client sends all of it before it reads, as most do: the answer must be there still."""
    body = json.dumps({"name": "x" * (2 << 20), "email": "a@example.org"}).encode()
    refused(post(community, token, body), 413, "invalid_argument", "body-too-large")


def test_a_body_of_two_mebibytes_in_chunks_is_refused_too(community: Running, token: str) -> None:
    head = (
        f"POST /users HTTP/1.1\r\nHost: 127.0.0.1:{community.port}\r\nAuthorization: Bearer {token}"
        "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", community.port), 15) as sock:
        sock.sendall(head.encode())
        sender = threading.Thread(target=_send, args=(sock, [chunk] * 32 + [b"0\r\n\r\n"]))
        sender.start()
        response = HTTPResponse(sock, method="POST")
        response.begin()
        refused(Answer.of(response), 413, "invalid_argument")
        sender.join()


def _send(sock: socket.socket, parts: list[bytes]) -> None:
    for part in parts:
        try:
            sock.sendall(part)
        except OSError:  # the answer is there, and the connection closed behind it
            return


def test_an_unknown_route_and_a_wrong_method(community: Running, token: str) -> None:
    refused(community.ask("GET", "/nowhere"), 404, "not_found")
    refused(community.ask("GET", "/users/../../etc/passwd"), 400, "invalid_argument")
    for method, path, allow in (
        ("DELETE", "/users", {"GET", "HEAD", "POST"}),
        ("POST", "/about", {"GET", "HEAD"}),
    ):
        answer = community.ask(method, path, headers={"authorization": f"Bearer {token}"})
        refused(answer, 405, "unimplemented", method)
        assert set(answer.headers["allow"].split(", ")) == allow


def test_a_missing_user_and_a_taken_email(community: Running, token: str) -> None:
    missing = community.ask("GET", "/users/00000000-0000-0000-0000-000000000000")
    refused(missing, 404, "not_found", "There is no such user.")
    taken = {"name": "Twin", "email": "twin@example.org"}
    assert post(community, token, taken).status == 201
    refused(post(community, token, taken), 409, "already_exists")


def test_the_admin_port_knows_its_token_and_its_name(community: Running) -> None:
    refused(
        community.ask("GET", "/status", port=community.admin), 401, "unauthenticated", "admin.token"
    )
    given = {"host": "evil.example", "authorization": "Bearer x"}
    refused(
        community.ask("GET", "/status", headers=given, port=community.admin),
        421,
        "permission_denied",
    )
    assert community.ask_admin("/status").status == 200


def test_nothing_of_this_was_a_defect(community: Running) -> None:
    """Runs last: every refusal so far was foreseen."""
    assert community.events("defect") == []
    assert {row["restarts"] for row in community.ask_admin("/status").json["rows"]} == {0}
