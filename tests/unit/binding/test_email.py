"""Email addresses: HTML's form with a dotted domain, at most 254 characters."""

import msgspec
import pytest

from switchgear.binding import Email

LONG = "a" * 64 + "@" + ".".join(["b" * 60] * 3)


@pytest.mark.parametrize("text", ["a@b.co", "Ada.Lovelace+tag@mail.example.com", LONG])
def test_an_address_is_accepted(text: str) -> None:
    assert msgspec.convert(text, Email) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@b",
        "@b.co",
        "a@",
        "a b@c.de",
        "a@b.co\n",
        "a@-b.co",
        "a@b..co",
        "a@b.co.",
        "é@b.co",
        "a" * 65 + "@b.co",
        LONG + ".example.example",
        "a@b@c.de",
        "a\0@b.co",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Email)
