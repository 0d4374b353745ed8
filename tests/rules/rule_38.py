"""Rule 38: pages of other sites: what they may not have a browser do, and what they may read."""

from typing import Any

from switchgear.gateway.settings import CsrfSettings, GatewaySettings
from tests.rules.entry import Entry, head, plain

__all__ = ["ENTRIES"]

COOKIE = b"Cookie: session=1"
CROSS, SITE, SAME = (b"Sec-Fetch-Site: " + word for word in
                     (b"cross-site", b"same-site", b"same-origin"))  # fmt: skip
FORM = b"Content-Type: application/x-www-form-urlencoded"
JSON = b"Content-Type: application/json"
ENDPOINT = (("prefix", False), ("path", "/{one}"))
REFUSED = "403 cross-site, kept"


def lower(*fields: bytes) -> list[bytes]:
    return [name.lower() + mark + value for name, mark, value in
            (field.partition(b":") for field in fields)]  # fmt: skip


def page(clause: str, *fields: bytes, answer: str = "200, kept", method: bytes = b"POST",
         target: bytes = b"/x", host: bytes = b"Host: a", **more: Any) -> Entry:  # fmt: skip
    """A request that a page has a browser send."""
    wire = plain(target, *lower(*fields), b"content-length: 0", method=method)
    forwarded = wire.replace(b"host: a", host.lower()) if answer[0] == "2" else b""
    if method in (b"GET", b"HEAD", b"OPTIONS"):
        forwarded = forwarded.replace(b"content-length: 0\r\n", b"")
    sent = head(method + b" " + target + b" HTTP/1.1", *fields, host=host)
    return Entry(38, clause, sent, answer, forwarded, proxied=False, **more)


def listing(*origins: str, **more: Any) -> GatewaySettings:
    return GatewaySettings(origins=origins, **more)


FORGED = [
    # What is refused
    page("a page of another site may not spend cookies", COOKIE, CROSS, answer=REFUSED),
    page("nor may one of the same site, which is another host", COOKIE, SITE,
         b"Origin: http://x.a", answer=REFUSED),
    page("nor one whose browser says a word that is not known", COOKIE,
         b"Sec-Fetch-Site: same-galaxy", answer=REFUSED),
    page("nor, where a browser says nothing else, one of another origin", COOKIE,
         b"Origin: http://b", answer=REFUSED),
    page("nor one of another port", COOKIE, b"Origin: http://a:8080", answer=REFUSED),
    page("nor one of a host whose name begins the same", COOKIE, b"Origin: http://a.evil.example",
         answer=REFUSED),
    page("nor one without an origin of its own", COOKIE, b"Origin: null", answer=REFUSED),
    page("nor one of this host that came in the clear, as its browser says", COOKIE, CROSS,
         b"Origin: http://a", answer=REFUSED),
    page("nor by any other method that changes something", COOKIE, CROSS, method=b"DELETE",
         answer=REFUSED),
    page("nor may it spend a password that the browser has kept", CROSS,
         b"Authorization: Basic YTpi", answer=REFUSED, route=ENDPOINT),
    page("nor at an endpoint", COOKIE, CROSS, JSON, answer=REFUSED, route=ENDPOINT),
    page("nor may a form of it go to a public application, which may trust its network", CROSS,
         FORM, answer=REFUSED),
    page("nor what it sends as plain text", CROSS, b"Content-Type: Text/Plain; charset=utf-8",
         answer=REFUSED),
    page("nor what it sends without a type", CROSS, answer=REFUSED),
    page("nor one that is not listed, where others are", COOKIE, CROSS, b"Origin: https://c",
         answer=REFUSED, gateway=listing("https://b")),
    page("nor, where any page may call, with cookies", COOKIE, CROSS, b"Origin: https://c",
         answer=REFUSED, gateway=listing("*")),
    # What goes on
    page("a client that is no browser may", COOKIE),
    page("a page of this host may", COOKIE, SAME, b"Origin: http://a"),
    page("a page of this host whose origin is hidden by its policy may", COOKIE, SAME,
         b"Origin: null"),
    page("somebody's own hand may", COOKIE, b"Sec-Fetch-Site: none"),
    page("a page of this host may where the browser says nothing else", COOKIE,
         b"Origin: http://a"),
    page("so may one over TLS that somebody else has ended", COOKIE, b"Origin: https://A:443"),
    page("a page of another site may read by GET what it may read anyway", COOKIE, CROSS,
         method=b"GET"),
    page("a page that is listed may", COOKIE, CROSS, b"Origin: https://b",
         gateway=listing("https://b")),
    page("what is asked of first by a browser may go to a public application, which has allowed it",
         CROSS, JSON, b"Origin: https://b"),
    page("a bearer token is the page's own to send", CROSS, b"Authorization: Bearer x",
         b"Origin: https://b"),
    page("a form of any page may go to an endpoint, which knows no cookies", CROSS, FORM,
         route=ENDPOINT),
    page("a form of any page may go to a public application, where any page may call", CROSS, FORM,
         b"Origin: https://b", gateway=listing("*")),
    page("a form of any page may go to a path that is exempt", COOKIE, CROSS, FORM,
         b"Origin: https://idp.example", target=b"/sso/okta/acs",
         gateway=GatewaySettings(csrf=CsrfSettings(exempt=("/sso/{name}/acs",)))),
    page("and to no path below or beside it", COOKIE, CROSS, FORM, target=b"/sso/okta/acs/",
         answer=REFUSED,
         gateway=GatewaySettings(csrf=CsrfSettings(exempt=("/sso/{name}/acs",)))),
    page("where it is only observed, it goes on", COOKIE, CROSS,
         gateway=GatewaySettings(csrf=CsrfSettings(mode="observe"))),
    page("where it is off, it goes on", COOKIE, CROSS,
         gateway=GatewaySettings(csrf=CsrfSettings(mode="off"))),
]  # fmt: skip

ENTRIES = FORGED
