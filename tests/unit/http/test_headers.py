"""Headers: looked up in lower case, written without framing and hop-by-hop fields."""

import pytest

from switchgear.http.headers import Headers


def test_lookup() -> None:
    headers = Headers([("Content-Type", "a/b"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2")])
    assert headers.get("content-type") == "a/b"
    assert headers["content-type"] == "a/b"
    assert headers.all("set-cookie") == ["a=1", "b=2"]
    assert "x" not in headers
    assert headers.get("x", "y") == "y"
    with pytest.raises(KeyError):
        headers["x"]


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
        "forwarded", "switchgear-token", "Switchgear_Token",
    )  # fmt: skip
    kept = Headers([(name, "x") for name in (*names, "x-usual", "accept")]).forwardable()
    assert [name for name, _ in kept] == ["x-usual", "accept"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("a", "b\r\nc: d"), ("a", "b\n"), ("a", "b\rc"), ("a", "\0"), ("a b", "c"), ("a:", "b"),
     ("", "b"), ("a\r\nb", "c"), ("a", "\u20ac"), ("a", "b\x7f")],
)  # fmt: skip
def test_a_header_cannot_break_out_of_its_line(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        Headers([(name, value)]).wire()
