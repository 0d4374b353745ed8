"""Headers: looked up in lower case, written without framing and hop-by-hop fields."""

import pytest

from switchgear.http import fields, headers
from switchgear.http.headers import HOP, Headers
from switchgear.http.names import COMMON


def test_lookup() -> None:
    found = Headers([("Content-Type", "a/b"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2")])
    assert found.get("content-type") == "a/b"
    assert found["content-type"] == "a/b"
    assert found.all("set-cookie") == ["a=1", "b=2"]
    assert "x" not in found
    assert found.get("x", "y") == "y"
    with pytest.raises(KeyError):
        found["x"]


def test_repeated_cookies_are_one_cookie_header() -> None:
    assert Headers([("cookie", "a=1"), ("cookie", "b=2")]).get("cookie") == "a=1; b=2"


def test_changes_make_other_headers() -> None:
    headers = Headers({"a": "1", "b": "2"})
    assert list(headers.also({"A": "3"})) == [("b", "2"), ("a", "3")]
    assert list(headers.without("a")) == [("b", "2")]
    assert list(headers) == [("a", "1"), ("b", "2")]


def test_framing_and_hop_by_hop_fields_are_never_copied() -> None:
    headers = Headers(
        [
            ("connection", "keep-alive, X-Hop, Cookie"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("content-length", "3"),
            ("Content_Length", "4"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "x"),
            ("cookie", "a=b"),
            ("x-kept", "yes"),
        ]
    )
    assert headers.wire() == b"cookie: a=b\r\nx-kept: yes\r\n"


def test_identity_claims_do_not_cross_the_boundary() -> None:
    names = (
        "x-user-id", "X_User_Id", "x-user", "x-forwarded-for", "X_Forwarded_For",
        "X-Forwarded_Host",
        "forwarded", "switchgear-token", "Switchgear_Token", "x-auth-request-email",
        "ssl_client_verify", "remote-groups", "x-ms-client-principal",
        "Client-Cert", "Client_Cert_Chain", "x-ssl-cert", "X-ARR-ClientCert",
        "x-amzn-oidc-identity", "cf-access-authenticated-user-email", "x-pomerium-claim-email",
        "X-Appengine-User-Email",
        "Tailscale-User-Login", "X-Authentik-Username", "X-Vouch-User", "X-Credential-Identifier",
        "X-Anonymous-Consumer", "X-Userinfo", "X-Envoy-External-Address", "X-Envoy-Internal",
        "X-Authenticated-Userid", "X-Authenticated-Scope", "X-Auth-Username", "x-auth-email",
        "OIDC_CLAIM_sub", "Shib-Session-ID", "X-Amzn-Mtls-Clientcert-Subject", "x-auth-user",
        "Cf-Client-Cert-Der-Base64", "X-Endpoint-API-UserInfo", "X-Apigateway-Api-Userinfo",
        "Fly-Client-IP", "Do-Connecting-IP", "CF-Connecting-IPv6", "X-Vercel-Forwarded-For",
        "X-Nf-Client-Connection-Ip", "X-Originating-IP", "X-HTTP-Host-Override", "X_Host_Override",
        # To lighttpd and PHP these are the same variables.
        "X.Forwarded.For", "x-user!id", "X~Real`IP", "Switchgear.Token", "Remote+User",
        "Forwarded.", "Content.Length", "Transfer*Encoding", "X_Request_Id", "X.Request-Id",
    )  # fmt: skip
    others = (
        "x-usual", "x.usual", "x_usual", "accept", "x-request-id",
        "x-authority", "x-auth-token", "x-authorization", "oidc",
        "remote-control", "x-consumer", "ssl-client",
        # What is signed is for whoever verifies it.
        "cf-access-jwt-assertion", "x-amzn-oidc-data", "x-pomerium-jwt-assertion",
        "x-envoy-expected-rq-timeout-ms", "x-envoy-attempt-count", "client-certainty",
    )  # fmt: skip
    kept = Headers([(name, "x") for name in (*names, *others)]).forwardable()
    assert [name for name, _ in kept] == list(others)


def test_what_is_common_is_known_and_a_stranger_cannot_take_its_place() -> None:
    for name in COMMON:
        assert Headers([(name, "x")]).forwardable().get(name) == (None if name in HOP else "x")
        assert fields._NAMES[name.encode()] == fields._NAMES[name.title().encode()] == name
        assert name in headers._SENT
        assert headers._IDENTITY.fullmatch(name) is None
    known = set(fields._NAMES)
    try:
        for number in range(1000):
            fields.read_fields(b"x-stranger-%d: 1\r\n\r\n" % number, 1)
        assert len(known) < len(fields._NAMES) <= 512
    finally:
        for learnt in set(fields._NAMES) - known:
            del fields._NAMES[learnt]


@pytest.mark.parametrize(
    ("name", "value"),
    [("a", "b\r\nc: d"), ("a", "b\n"), ("a", "b\rc"), ("a", "\0"), ("a b", "c"), ("a:", "b"),
     ("", "b"), ("a\r\nb", "c"), ("a", "\u20ac"), ("a", "b\x7f")],
)  # fmt: skip
def test_a_header_cannot_break_out_of_its_line(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        Headers([(name, value)]).wire()
