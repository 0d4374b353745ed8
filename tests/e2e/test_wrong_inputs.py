"""What is wrong is told so: each wrong input, and the words that come back."""

import asyncio
import base64
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from joserfc.jwk import OKPKey

from switchgear.engines.postgres.dsn import Dsn
from tests.e2e.running import ROOT, Answer, Running, run

EXAMPLE = ROOT / "examples" / "community"
MORE = '''
from switchgear import Call


@app.get("/headers", public=True)
async def headers(call: Call) -> dict[str, str]:
    """Say which headers reached this handler."""
    return dict(call.payload.headers)
'''
NEW = {"name": "Grace", "email": "grace@example.org"}


@pytest.fixture(scope="module")
def system(home: Path) -> Iterator[Running]:
    folder = home / "app"
    (folder / "migrations").mkdir(parents=True)
    for path in EXAMPLE.rglob("*.*"):
        text = path.read_text() + (MORE if path.name == "app.py" else "")
        (folder / path.relative_to(EXAMPLE)).write_text(text)
    with Running.started("up", str(folder), home / "data") as running:
        yield running


@pytest.fixture(scope="module")
def token(system: Running) -> str:
    return system.token()


def post(system: Running, token: str, body: object, **headers: str) -> Answer:
    given = {"authorization": f"Bearer {token}"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return system.ask("POST", "/users", body, given)


def refused(answer: Answer, status: int, code: str, *words: str) -> dict[str, Any]:
    """Hold an answer to be a problem document of ours, with these words in it."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert (problem["status"], problem["code"]) == (status, code)
    for word in words:
        assert word in answer.body.decode(), answer.body
    for inner in ("Traceback", "switchgear.", "msgspec", "asyncpg", "/app.py"):
        assert inner not in answer.body.decode(), "a stranger learns nothing of the inside"
    return problem


# -- bodies


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b'{"name": "a"} trailing', "not valid JSON"),
    ],
)
def test_a_body_that_is_no_json(system: Running, token: str, body: bytes, words: str) -> None:
    refused(post(system, token, body), 400, "invalid_argument", words)


def test_wrong_types_are_listed_by_their_json_pointers(system: Running, token: str) -> None:
    answer = post(system, token, {"name": 7, "email": ["a"]})
    problem = refused(answer, 422, "invalid_argument")
    assert {error["pointer"] for error in problem["errors"]} == {"/name", "/email"}
    assert all(error["detail"] for error in problem["errors"])


def test_wrong_values_missing_and_unknown_fields_are_listed_all_at_once(
    system: Running, token: str
) -> None:
    problem = refused(post(system, token, {"name": "", "mail": "x"}), 422, "invalid_argument")
    assert {error["pointer"] for error in problem["errors"]} == {"/name", "/email", "/mail"}


def test_a_field_that_is_given_twice(system: Running, token: str) -> None:
    body = b'{"name": "a", "name": "b", "email": "a@example.org"}'
    problem = refused(post(system, token, body), 422, "invalid_argument", "more than once")
    assert [error["pointer"] for error in problem["errors"]] == ["/name"]


def test_a_body_that_is_no_object(system: Running, token: str) -> None:
    problem = refused(post(system, token, [1, 2]), 422, "invalid_argument")
    assert [error["pointer"] for error in problem["errors"]] == [""]


def test_a_wrong_query_and_a_wrong_path(system: Running) -> None:
    problem = refused(system.ask("GET", "/users?limit=1000&after=x"), 422, "invalid_argument")
    assert len(problem["errors"]) == 2
    refused(system.ask("GET", "/users/not-a-uuid"), 422, "invalid_argument", "id")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_a_content_type_that_is_not_json(system: Running, token: str, kind: str) -> None:
    answer = post(system, token, NEW, content_type=kind)
    refused(answer, 415, "invalid_argument", "application/json")


def test_a_body_of_two_mebibytes_is_refused_and_its_sender_reads_so(
    system: Running, token: str
) -> None:
    """The client sends all of it before it reads, as most do: the answer must be there still."""
    body = json.dumps({"name": "x" * (2 << 20), "email": "a@example.org"}).encode()
    refused(post(system, token, body), 413, "invalid_argument", "body-too-large")


def test_a_body_of_two_mebibytes_in_chunks_is_refused_too(system: Running, token: str) -> None:
    head = (
        f"POST /users HTTP/1.1\r\nHost: 127.0.0.1:{system.port}\r\nAuthorization: Bearer {token}"
        "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", system.port), 15) as sock:
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


# -- who is calling


def test_no_token_and_what_is_none(system: Running) -> None:
    answer = system.ask("POST", "/users", NEW)
    refused(answer, 401, "unauthenticated", "Authorization: Bearer")
    assert answer.headers["www-authenticate"] == "Bearer"
    for value in ("Basic YTpi", "Bearer", "Bearer x", "Bearer a.b.c", "Bearer " + "x" * 6000):
        given = {"authorization": value}
        refused(system.ask("POST", "/users", NEW, given), 401, "unauthenticated")


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a token apart."""
    header, claims, _ = token.split(".")
    first, second = (json.loads(base64.urlsafe_b64decode(one + "==")) for one in (header, claims))
    return first, second


def compact(
    header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes] | None = None
) -> str:
    """Put a token together, signed or not."""
    stem = ".".join(_part(json.dumps(one).encode()) for one in (header, claims))
    return f"{stem}.{_part(sign(stem.encode()) if sign is not None else b'')}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signer(key: OKPKey) -> Callable[[bytes], bytes]:
    sign: Callable[[bytes], bytes] = key.get_op_key("sign").sign
    return sign


def signing_key(system: Running) -> OKPKey:
    """Steal the key that signs, as nobody but the database's superuser can."""
    home = system.data / "postgres"
    password = json.loads(next(home.rglob("passwords.json")).read_text())["postgres"]
    sockets = next(home.rglob("postmaster.pid")).read_text().splitlines()[4]
    dsn = Dsn(sockets, user="postgres", password=password, database="switchgear")

    async def look() -> str:
        connection = await asyncpg.connect(**dsn.arguments())
        try:
            found = await connection.fetchval("select private_jwk from accounts.signing_key")
        finally:
            await connection.close()
        return str(found)

    return OKPKey.import_key(json.loads(asyncio.run(look())))


def test_forged_tokens(system: Running, token: str) -> None:
    header, claims = parts(token)
    published = system.ask("GET", "/.well-known/jwks.json").json["keys"][0]
    stranger = OKPKey.generate_key("Ed25519", {"kid": header["kid"]})
    public = base64.urlsafe_b64decode(published["x"] + "==")
    stem, _, signature = token.rpartition(".")

    def sealed(data: bytes) -> bytes:
        return hmac.digest(public, data, "sha256")

    forged = {
        "a changed claim": compact(header, claims | {"scope": "admin"}) + signature,
        "a changed signature": f"{stem}.{signature[:10]}{'A' * (len(signature) - 10)}",
        "no signature": f"{stem}.",
        "another's key": compact(header, claims, signer(stranger)),
        "alg none": compact(header | {"alg": "none"}, claims),
        "the public key as a secret": compact(header | {"alg": "HS256"}, claims, sealed),
        "a key of its own": compact(
            header | {"jwk": stranger.as_dict(private=False)}, claims, signer(stranger)
        ),
        "an unknown key": compact(header | {"kid": "nobody"}, claims, signer(stranger)),
        "padding": f"{token}=",
    }
    for how, one in forged.items():
        answer = post(system, one, NEW)
        assert answer.status == 401, (how, answer.body)
        refused(answer, 401, "unauthenticated", "The token is not valid")
    assert post(system, token, {"name": "", "email": ""}).status == 422, "the true one goes through"


def test_an_expired_token_and_one_of_somebody_else(system: Running, token: str) -> None:
    """Signed by the true key, so that nothing but the claim is wrong."""
    key = signing_key(system)
    header, claims = parts(token)

    def signed(**changed: object) -> str:
        return compact(header, claims | changed, signer(key))

    now = time.time()
    assert post(system, signed(), {}).status == 422, "signed like a true one"
    expired = post(system, signed(exp=now - 60, iat=now - 660), NEW)
    refused(expired, 401, "unauthenticated", "The token has expired.")
    for changed in ({"nbf": now + 600}, {"iss": "another"}, {"aud": "another"}):
        answer = post(system, signed(**changed), NEW)
        refused(answer, 401, "unauthenticated", "The token is not valid")


def test_a_token_without_the_scope(system: Running, token: str) -> None:
    header, claims = parts(token)
    bare = compact(header, claims | {"scope": ""}, signer(signing_key(system)))
    refused(post(system, bare, NEW), 403, "permission_denied", "user:write")


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(system: Running) -> None:
    system.token("known@example.org")
    answers = [
        system.ask("POST", "/tokens", {"email": email, "password": "not this one"})
        for email in ("known@example.org", "unknown@example.org")
    ]
    for answer in answers:
        refused(answer, 401, "unauthenticated")
    assert answers[0].body == answers[1].body


def test_straight_to_a_service_without_an_internal_token(system: Running, token: str) -> None:
    folder = Path(json.loads((system.data / "run.json").read_text())["folder"])
    for role in ("service-1", "accounts-1"):
        for more in (
            "",
            f"Authorization: Bearer {token}\r\n",
            "Switchgear-Token: boot.1.e30=.x\r\n",
        ):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                sock.connect(str(folder / f"{role}.peer"))
                sock.sendall(f"GET /about HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
                response = HTTPResponse(sock)
                response.begin()
                answer = Answer.of(response)
            refused(answer, 401, "unauthenticated", "answers only through its gateway")


def test_public_switchgear_headers_change_nothing(system: Running) -> None:
    given = {
        "Switchgear-Token": "boot.9999999999999.e30=.forged",
        "switchgear-deadline-ms": "1",
        "Switchgear-Fault": '{"code": "internal"}',
        "switchgear-priority": "9",
        "switchgear_token": "forged",
        "X-User-Id": "forged",
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Host": "forged.example",
        "Forwarded": "for=6.6.6.6",
    }
    answer = system.ask("GET", "/headers", headers=given)
    assert answer.status == 200, answer.body
    seen = answer.json
    assert not {"switchgear-fault", "switchgear-priority", "switchgear_token"} & set(seen)
    assert "forged" not in answer.body.decode()
    assert "6.6.6.6" not in answer.body.decode()
    assert seen.get("switchgear-deadline-ms") != "1"
    assert not [name for name in answer.headers if name.startswith("switchgear")]


# -- where to


def test_an_unknown_route_and_a_wrong_method(system: Running, token: str) -> None:
    refused(system.ask("GET", "/nowhere"), 404, "not_found")
    refused(system.ask("GET", "/users/../../etc/passwd"), 400, "invalid_argument")
    for method, path, allow in (
        ("DELETE", "/users", {"GET", "HEAD", "POST"}),
        ("POST", "/about", {"GET", "HEAD"}),
    ):
        answer = system.ask(method, path, headers={"authorization": f"Bearer {token}"})
        refused(answer, 405, "unimplemented", method)
        assert set(answer.headers["allow"].split(", ")) == allow


def test_a_missing_user_and_a_taken_email(system: Running, token: str) -> None:
    missing = system.ask("GET", "/users/00000000-0000-0000-0000-000000000000")
    refused(missing, 404, "not_found", "There is no such user.")
    taken = {"name": "Twin", "email": "twin@example.org"}
    assert post(system, token, taken).status == 201
    refused(post(system, token, taken), 409, "already_exists")


def test_the_admin_port_knows_its_token_and_its_name(system: Running) -> None:
    refused(system.ask("GET", "/status", port=system.admin), 401, "unauthenticated", "admin.token")
    given = {"host": "evil.example", "authorization": "Bearer x"}
    refused(
        system.ask("GET", "/status", headers=given, port=system.admin), 421, "permission_denied"
    )
    assert system.ask_admin("/status").status == 200


def test_nothing_of_this_was_a_defect(system: Running) -> None:
    """Runs last: every refusal so far was foreseen."""
    assert system.events("defect") == []
    assert {row["restarts"] for row in system.ask_admin("/status").json["rows"]} == {0}


# -- at the start


def told(folder: Path, *words: str, data: str = "data", **more: str) -> str:
    """Run `switchgear up`, which must refuse with exit code 2; return what it said."""
    done = run("up", *words, f"--data={data}", cwd=folder, **more)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert not (folder / "data" / "run.json").exists()
    return "\n".join(line for line in done.stderr.splitlines() if "roles stay root" not in line)


def app_at(folder: Path, source: str) -> str:
    (folder / "app.py").write_text(source)
    return str(folder)


ANYWHERE = ("--port=0", "--admin=127.0.0.1:0")


def test_a_port_that_is_taken(tmp_path: Path, system: Running) -> None:
    said = told(tmp_path, str(EXAMPLE), f"--port={system.port}", "--admin=0")
    assert said == (
        f"switchgear: cannot listen on 127.0.0.1:{system.port} (listen.port): another program has "
        "it; choose another port or end that program"
    )


def test_a_data_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = told(tmp_path, str(EXAMPLE), *ANYWHERE, data="file/x")
    assert said == f"switchgear: cannot use the data folder {tmp_path}/file/x: Not a directory"


def test_a_typo_in_the_configuration(tmp_path: Path) -> None:
    app = app_at(tmp_path, "from switchgear import App\n\napp = App('x')\n")
    (tmp_path / "switchgear.toml").write_text("[gatway]\nattempts = 2\n[gateway]\natempts = 2\n")
    said = told(tmp_path, app, *ANYWHERE, SWITCHGEAR_LISTEN__PROT="1").splitlines()
    assert len(said) == 3
    assert "gatway: there is no such setting; did you mean 'gateway'?" in said[0]
    assert "gateway.atempts: there is no such setting; did you mean 'attempts'?" in said[1]
    assert "listen.prot: there is no such setting; did you mean 'port'?" in said[2]
    assert "SWITCHGEAR_LISTEN__PROT" in said[2]


def test_an_app_that_fails_to_import_shows_its_own_frames_only(tmp_path: Path) -> None:
    app = app_at(tmp_path, "from switchgear import App\n\napp = App('x')\nlimit = 1 / 0\n")
    said = told(tmp_path, app, *ANYWHERE)
    assert said.splitlines()[-1] == (
        "switchgear: cannot import the app 'app:app': ZeroDivisionError: division by zero"
    )
    assert said.count("  File ") == 1
    assert f'File "{tmp_path}/app.py", line 4, in <module>' in said


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "@app.get('/x', public=True)\nasync def x(what: object) -> str: ...",
            ("cannot be bound", "x (", "what", "object"),
        ),
        (
            "@app.get('/x/{id}', public=True)\nasync def x() -> str: ...",
            ("cannot be bound", "x (", "id"),
        ),
        (
            "@app.post('/x', public=True)\nasync def x(a, b) -> str: ...",
            ("cannot be bound", "x (", "a"),
        ),
        (
            "@app.consumer('topic')\nasync def take(n: int) -> None: ...",
            ("take", "at_least_once"),
        ),
        ("app.mount('legacy', None)", ("legacy",)),
        (
            "@app.post('/tokens', public=True)\nasync def y() -> str: ...",
            ("POST /tokens", "accounts"),
        ),
    ],
)
def test_a_handler_that_cannot_be_bound(
    tmp_path: Path, source: str, words: tuple[str, ...]
) -> None:
    app = app_at(tmp_path, f"from switchgear import App\n\napp = App('x')\n\n{source}\n")
    said = told(tmp_path, app, *ANYWHERE)
    last = said.splitlines()[-1]
    assert last.startswith("switchgear: ")
    for word in words:
        assert word in last, said
    assert "switchgear/" not in said.replace(str(tmp_path), ""), "none of our own frames"


def test_a_migration_that_fails(tmp_path: Path) -> None:
    app = app_at(tmp_path, "from switchgear import App\n\napp = App('x')\n")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_first.sql").write_text("create tabel x (id int);")
    said = told(tmp_path, app, *ANYWHERE)
    assert "0001_first.sql" in said
    assert 'syntax error at or near "tabel"' in said


def test_two_systems_on_one_data_folder(system: Running) -> None:
    done = run("up", str(EXAMPLE), *ANYWHERE, f"--data={system.data}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"switchgear: switchgear is already running as pid {system.process.pid} "
        f"on the data folder {system.data}"
    )
    assert system.ask("GET", "/about").status == 200, "and the first goes on"
