"""Rule 38: pages of other sites: what they may not have a browser do, and what they may read."""

from typing import Any

from switchgear.gateway.settings import CorsSettings, CsrfSettings, GatewaySettings
from switchgear.http.settings import ServerSettings
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

B = b"Origin: https://b"
LISTED = listing("https://b", "https://c")
WITH_COOKIES = listing("https://b", cors=CorsSettings(credentials=True))
ALLOWED = b"access-control-allow-origin: https://b\r\n"
RESOURCE = b"cross-origin-resource-policy: cross-origin\r\n"
CREDENTIALS = b"access-control-allow-credentials: true\r\n"
GRANTED = (
    b"access-control-allow-methods: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
    b"access-control-max-age: 600\r\n"
)


def ahead(clause: str, *fields: bytes, answer: str = "204, kept", method: bytes = b"PUT",
          **more: Any) -> Entry:  # fmt: skip
    """A preflight, which goes no further than the gateway."""
    asks = b"Access-Control-Request-Method: " + method
    sent = head(b"OPTIONS /x HTTP/1.1", asks, *fields)
    no = b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n"
    more = {"gateway": LISTED, "upstream": (no,), **more}
    return Entry(38, clause, sent, answer, b"", proxied=False, **more)


def read(clause: str, *said: bytes, asks: tuple[bytes, ...] = (B,), gateway: Any = LISTED,
         status: bytes = b"200 OK", **more: Any) -> Entry:  # fmt: skip
    """An answer that a page is to read."""
    answer = b"HTTP/1.1 " + status + b"\r\n" + b"".join(one + b"\r\n" for one in said)
    return Entry(38, clause, head(b"GET /x HTTP/1.1", *asks), status[:3].decode() + ", kept",
                 plain(b"/x", *lower(*asks)), upstream=(answer + b"Content-Length: 0\r\n\r\n",),
                 proxied=False, gateway=gateway, **more)  # fmt: skip


SHARED = [
    # Preflights
    ahead("a preflight of a listed page is answered here, whatever the application would say", B,
          has=ALLOWED + RESOURCE + GRANTED),
    ahead("it may send the fields that it asks for, claims of identity left out", B,
          b"Access-Control-Request-Headers: authorization,content-type,x-own,x-user-id,te,a b,*",
          has=GRANTED + b"access-control-allow-headers: authorization, content-type, x-own\r\n"),
    ahead("with cookies where that is set", B, gateway=WITH_COOKIES,
          has=ALLOWED + CREDENTIALS + RESOURCE + GRANTED),
    ahead("its answer hangs on who asks", B, has=b"vary: Origin\r\n"),
    ahead("a method that is less common, where any is taken", B, method=b"PROPFIND",
          has=b"OPTIONS, PROPFIND\r\n"),
    ahead("one that is served nowhere is not granted", B, method=b"TRACE", has=GRANTED,
          lacks=b"TRACE"),
    ahead("nor what is no method", B, method=b"a\tb", has=GRANTED, lacks=b"a\tb"),
    ahead("for how long it is remembered is a setting", B,
          gateway=listing("https://b", cors=CorsSettings(max_age=5)),
          has=b"access-control-max-age: 5\r\n"),
    ahead("a path that leads nowhere is told so", B, route=(("path", "/y"),), answer="404, kept",
          has=ALLOWED, lacks=b"access-control-allow-methods"),
    ahead("a page that is not listed is refused", b"Origin: https://d", answer="403 origin, kept",
          lacks=b"access-control-"),
    ahead("an origin is compared to the letter", b"Origin: https://b:443",
          answer="403 origin, kept", lacks=b"access-control-"),
    ahead("two origins are none", B, b"Origin: https://c", answer="403 origin, kept",
          lacks=b"access-control-"),
    ahead("any page may where that is set, without a word of cookies", b"Origin: https://d",
          gateway=listing("*"), has=b"access-control-allow-origin: *\r\n" + RESOURCE + GRANTED,
          lacks=b"credentials"),
    Entry(38, "OPTIONS that asks for no method is the application's",
          head(b"OPTIONS /x HTTP/1.1", B), "200, kept",
          plain(b"/x", *lower(B), method=b"OPTIONS"), gateway=LISTED, proxied=False, has=ALLOWED),
    Entry(38, "without any origin listed, a preflight is the application's",
          head(b"OPTIONS /x HTTP/1.1", B, b"Access-Control-Request-Method: PUT"), "204, kept",
          plain(b"/x", *lower(B, b"Access-Control-Request-Method: PUT"), method=b"OPTIONS"),
          upstream=(b"HTTP/1.1 204 X\r\nAccess-Control-Allow-Origin: *\r\n\r\n",), proxied=False,
          has=b"access-control-allow-origin: *\r\n", lacks=b"vary"),
    Entry(38, "so is one of our own page, whoever else is listed",
          head(b"OPTIONS /x HTTP/1.1", b"Origin: http://a", b"Access-Control-Request-Method: PUT"),
          "200, kept", plain(b"/x", *lower(b"Origin: http://a",
          b"Access-Control-Request-Method: PUT"), method=b"OPTIONS"),
          gateway=LISTED, proxied=False, lacks=b"access-control-"),
    # Answers
    read("an answer to a listed page says so, and which fields it may read", b"X-Total: 9",
         b'ETag: "1"', b"Set-Cookie: a=1", b"Cache-Control: no-store",
         has=ALLOWED + RESOURCE
         + b"access-control-expose-headers: x-total, etag, x-request-id, server-timing\r\n"),
    read("and that it may send cookies, where that is set", gateway=WITH_COOKIES,
         has=ALLOWED + CREDENTIALS + RESOURCE),
    read("what the application says of who may use it where goes before",
         b"Cross-Origin-Resource-Policy: same-site", lacks=b"cross-origin-resource-policy: c"),
    read("what the application says itself of CORS is left out",
         b"Access-Control-Allow-Origin: *", b"Access-Control-Allow-Credentials: true",
         b"Access-Control-Expose-Headers: x-own", has=ALLOWED, lacks=b"allow-origin: *"),
    read("to a page that is not listed, too", b"Access-Control-Allow-Origin: *",
         asks=(b"Origin: https://d",), lacks=b"access-control-"),
    read("to nobody's page, too, and it hangs on who asks", b"Access-Control-Allow-Origin: *",
         b"Vary: Accept", b"Vary: Cookie", asks=(), has=b"vary: Accept, Cookie, Origin\r\n",
         lacks=b"access-control-"),
    read("an answer that hangs on it already, or on all, says it once", b"Vary: origin, accept",
         has=b"vary: origin, accept\r\n"),
    read("where none is listed, the application's word passes",
         b"Access-Control-Allow-Origin: https://b", b"Vary: Origin", gateway=GatewaySettings(),
         has=b"access-control-allow-origin: https://b\r\nvary: Origin\r\n"),
    read("a page of this host is told nothing, whoever is listed", asks=(SAME, B),
         lacks=b"access-control-"),
    read("a page of ours is told to say whose its forms are", b"Content-Type: text/html", asks=(),
         has=b"referrer-policy: strict-origin-when-cross-origin\r\n"),
    read("a failure can be read", status=b"500 X", has=ALLOWED),
]  # fmt: skip

LARGE = b"Content-Length: 99"
TURNED = [
    Entry(38, "of a body that is too large, a listed page is told so",
          head(b"POST /x HTTP/1.1", B, LARGE), "413 body-too-large, closed", b"",
          settings=ServerSettings(body_bytes=9), gateway=LISTED, proxied=False,
          has=ALLOWED + RESOURCE),
    Entry(38, "and a page that is not is not",
          head(b"POST /x HTTP/1.1", b"Origin: https://d", LARGE), "413 body-too-large, closed", b"",
          settings=ServerSettings(body_bytes=9), gateway=LISTED, proxied=False,
          has=b"vary: Origin\r\n", lacks=b"access-control-"),
]  # fmt: skip

ENTRIES = FORGED + SHARED + TURNED
