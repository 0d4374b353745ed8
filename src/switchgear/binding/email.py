"""Email addresses as a type: `email: Email`.

The form is that of HTML's `<input type=email>`, the one that people meet everywhere, with a
dot required in the domain. It does not promise that the mailbox exists; only a message to it can.

Source: https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address,
RFC 5321 section 4.5.3.1 (64 octets before the @, 254 in all).
"""

from typing import Annotated, Final

from msgspec import Meta

__all__ = ["Email"]

_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_FORM: Final = rf"^[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+\Z"

Email = Annotated[
    str,
    Meta(
        pattern=_FORM,
        min_length=3,
        max_length=254,
        examples=["ada@example.com"],
        extra_json_schema={"format": "email"},
        extra={"expected": "an email address"},
    ),
]
