"""Who is not who they say: forged, expired and missing tokens, on every door there is."""

import asyncio
import base64
import hmac
import json
import socket
import time
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from switchgear.engines.postgres.dsn import Dsn
from tests.e2e.asking import NEW, post, refused
from tests.e2e.running import Answer, Running


def test_no_token_and_what_is_none(community: Running) -> None:
    answer = community.ask("POST", "/users", NEW)
    refused(answer, 401, "unauthenticated", "Authorization: Bearer")
    assert answer.headers["www-authenticate"] == "Bearer"
    for value in ("Basic YTpi", "Bearer", "Bearer x", "Bearer a.b.c", "Bearer " + "x" * 6000):
        given = {"authorization": value}
        refused(community.ask("POST", "/users", NEW, given), 401, "unauthenticated")


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
    private = key.get_op_key("sign")
    assert isinstance(private, Ed25519PrivateKey)
    return private.sign


def signing_key(community: Running) -> OKPKey:
    """Steal the key that signs, as nobody but the database's superuser can."""
    home = community.data / "postgres"
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


def test_forged_tokens(community: Running, token: str) -> None:
    header, claims = parts(token)
    published = community.ask("GET", "/.well-known/jwks.json").json["keys"][0]
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
        answer = post(community, one, NEW)
        assert answer.status == 401, (how, answer.body)
        refused(answer, 401, "unauthenticated", "The token is not valid")
    assert post(community, token, {"name": "", "email": ""}).status == 422, (
        "the true one goes through"
    )


def test_an_expired_token_and_one_of_somebody_else(community: Running, token: str) -> None:
    """Signed by the true key, so that nothing but the claim is wrong."""
    key = signing_key(community)
    header, claims = parts(token)

    def signed(**changed: object) -> str:
        return compact(header, claims | changed, signer(key))

    now = time.time()
    assert post(community, signed(), {}).status == 422, "signed like a true one"
    expired = post(community, signed(exp=now - 60, iat=now - 660), NEW)
    refused(expired, 401, "unauthenticated", "The token has expired.")
    for changed in ({"nbf": now + 600}, {"iss": "another"}, {"aud": "another"}):
        answer = post(community, signed(**changed), NEW)
        refused(answer, 401, "unauthenticated", "The token is not valid")


def test_a_token_without_the_scope(community: Running, token: str) -> None:
    header, claims = parts(token)
    bare = compact(header, claims | {"scope": ""}, signer(signing_key(community)))
    refused(post(community, bare, NEW), 403, "permission_denied", "user:write")


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(community: Running) -> None:
    community.token("known@example.org")
    answers = [
        community.ask("POST", "/tokens", {"email": email, "password": "not this one"})
        for email in ("known@example.org", "unknown@example.org")
    ]
    for answer in answers:
        refused(answer, 401, "unauthenticated")
    assert answers[0].body == answers[1].body


def test_straight_to_a_service_without_an_internal_token(community: Running, token: str) -> None:
    folder = Path(json.loads((community.data / "run.json").read_text())["folder"])
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


def test_public_switchgear_headers_change_nothing(community: Running) -> None:
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
    answer = community.ask("GET", "/headers", headers=given)
    assert answer.status == 200, answer.body
    seen = answer.json
    assert not {"switchgear-fault", "switchgear-priority", "switchgear_token"} & set(seen)
    assert "forged" not in answer.body.decode()
    assert "6.6.6.6" not in answer.body.decode()
    assert seen.get("switchgear-deadline-ms") != "1"
    assert not [name for name in answer.headers if name.startswith("switchgear")]
