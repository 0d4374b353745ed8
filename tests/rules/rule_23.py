"""Rule 23: what belongs to one hop stays there, and nobody says who he is by a header."""

from switchgear.gateway.settings import GatewaySettings
from tests.rules.entry import Entry, head, plain

__all__ = ["ENTRIES"]

GET = b"GET / HTTP/1.1"
OK = b"HTTP/1.1 200 OK\r\n"


def ours(
    *fields: bytes, target: bytes = b"/", peer: bytes = b"127.0.0.1", proto: bytes = b"http",
    name: bytes = b"<id>", trace: bytes = b"<trace>-<span>-01", via: bytes = b"1.1 switchgear",
) -> bytes:  # fmt: skip
    """A plain request as it is forwarded, with every field that is ours."""
    return plain(
        target, *fields,
        b"x-forwarded-for: " + peer, b"x-forwarded-host: a", b"x-forwarded-proto: " + proto,
        b"x-request-id: " + name, b"traceparent: 00-" + trace, b"via: " + via,
        b"switchgear-token: T", b"switchgear-deadline-ms: <ms>",
    )  # fmt: skip


def sent(clause: str, lines: list[bytes], forwarded: bytes, answer: str = "200, kept",
         trusted: tuple[str, ...] = ()) -> Entry:  # fmt: skip
    gateway = GatewaySettings(trusted_proxies=trusted)
    return Entry(23, clause, head(GET, *lines), answer, forwarded, full=True, gateway=gateway,
                 proxied=answer.startswith("200"))  # fmt: skip


def dropped(*names: str) -> list[Entry]:
    return [sent(f"{name} is dropped", [f"{name}: 1".encode()], ours()) for name in names]


def back(clause: str, *lines: bytes, lacks: bytes | None = None, has: bytes | None = None) -> Entry:
    """What an upstream says of its hop, or of itself, does not come out."""
    said = OK + b"\r\n".join([*lines, b"Content-Length: 2", b"", b"ok"])
    return Entry(
        23, clause, head(GET), "200, kept", plain(), upstream=(said,), lacks=lacks, has=has
    )


ENTRIES = [
    sent("what the gateway adds, after all that the client has sent", [b"Accept: */*", b"X-A: b"],
         ours(b"accept: */*", b"x-a: b")),
    # One hop
    *dropped("Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "TE",
             "Trailer", "Upgrade", "HTTP2-Settings", "Content_Length", "Transfer_Encoding"),
    sent("Connection and what it names are dropped", [b"Connection: x-a, X-B", b"X-A: 1", b"X-B: 2",
         b"X-C: 3"], ours(b"x-c: 3")),
    sent("two Connections name two fields", [b"Connection: x-a", b"Connection: x-b", b"X-A: 1",
         b"X-B: 2"], ours()),
    sent("Connection cannot unname Host", [b"Connection: host"], ours()),
    sent("Connection cannot unname Cookie", [b"Connection: cookie", b"Cookie: a=b"],
         ours(b"cookie: a=b")),
    sent("Connection cannot unname Authorization",
         [b"Connection: authorization", b"Authorization: x"], ours(b"authorization: x")),
    sent("Connection cannot unname what is ours",
         [b"Connection: x-forwarded-for, switchgear-token, x-request-id, via, traceparent"],
         ours()),
    sent("Connection cannot unname the body's length",
         [b"Connection: content-length, transfer-encoding"], ours()),
    sent("an upgrade to HTTP/2 is not taken up",
         [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"],
         ours()),
    # Identity
    *dropped("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
             "X-Forwarded-Prefix", "X-Forwarded-User", "Forwarded", "X-Real-IP", "X-Client-IP",
             "X-User", "X-User-Id", "X-User-Roles", "X-Remote-User", "X-Remote-Addr",
             "X-Original-URL", "X-Original-Host", "X-Rewrite-URL", "True-Client-IP",
             "CF-Connecting-IP", "Switchgear-Token", "Switchgear-Fault", "Switchgear-Deadline-Ms",
             "Switchgear-Anything", "X_Forwarded_For", "X_User_Id", "X-User_Id", "X_Real_IP",
             "x_remote_user", "X_Original_URL", "Switchgear_Token", "True_Client_IP",
             "X_Request_Id", "Proxy", "X-HTTP-Method-Override", "X-HTTP-Method",
             "X-Method-Override", "Remote-User", "X-Auth-User", "X-Authenticated-User", "Client-IP",
             "X-Cluster-Client-IP", "Fastly-Client-IP", "X-Azure-ClientIP", "Forwarded-For",
             "X-Host", "X-Scheme", "X-Url-Scheme", "Front-End-Https", "X_HTTP_Method_Override",
             "Remote-Email", "Remote-Groups", "Remote-Name", "X-Auth-Request-User",
             "X-Auth-Request-Email", "X_Auth_Request_Groups", "X-WebAuth-User", "SSL-Client-Verify",
             "X-SSL-Client-S-DN", "X-Consumer-Username", "X-Goog-Authenticated-User-Email",
             "X-MS-Client-Principal", "X-MS-Client-Principal-Id", "Client-Cert",
             "Client_Cert_Chain", "X-Amzn-Oidc-Identity", "Cf-Access-Authenticated-User-Email",
             "X-Envoy-Internal", "Tailscale-User-Login", "X.Forwarded.For", "X.User.Id",
             "X.Request.Id", "Content.Length"),
    sent("the chain of a proxy that is trusted is believed, from the right",
         [b"X-Forwarded-For: 203.0.113.9, 198.51.100.7, 127.0.0.2", b"X-Forwarded-Proto: https"],
         ours(peer=b"198.51.100.7", proto=b"https"), trusted=("127.0.0.0/8",)),
    sent("what stands before an entry that cannot be read is not believed",
         [b"X-Forwarded-For: 203.0.113.9, unknown, 198.51.100.7, 127.0.0.2"],
         ours(peer=b"198.51.100.7"), trusted=("127.0.0.0/8", "198.51.100.0/24")),
    sent("the chain of a stranger is not believed",
         [b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-Proto: https"], ours(),
         trusted=("10.0.0.0/8",)),
    # Names of requests
    sent("a plain request id is kept", [b"X-Request-Id: abcdef12-3456"],
         ours(name=b"abcdef12-3456")),
    sent("a request id with other characters is replaced", [b"X-Request-Id: a\tb<script>"], ours()),
    sent("a request id that is long is replaced", [b"X-Request-Id: " + b"a" * 65], ours()),
    sent("a trace is continued by a span of ours, and its notes are kept",
         [b"Traceparent: 00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01", b"Tracestate: a=b"],
         ours(b"tracestate: a=b", trace=b"<trace>-<span>-01")),
    sent("a trace that is none is begun anew, and its notes are dropped",
         [b"Traceparent: 00-" + b"0" * 32 + b"-" + b"2" * 16 + b"-01", b"Tracestate: a=b"], ours()),
    # Via
    sent("Via is continued", [b"Via: 1.0 fred, 1.1 p.example"],
         ours(via=b"1.0 fred, 1.1 p.example, 1.1 switchgear")),
    sent("a request that has come by here in a circle is refused",
         [b"Via: " + b", ".join([b"1.1 switchgear"] * 8)], b"", "508 loop, kept"),
    sent("other proxies are no circle", [b"Via: " + b", ".join([b"1.1 x"] * 20)],
         ours(via=b", ".join([b"1.1 x"] * 20 + [b"1.1 switchgear"]))),
    # Outwards
    back("an upstream's Keep-Alive stays with us", b"Keep-Alive: timeout=5", lacks=b"timeout=5"),
    back("an upstream's Connection, and what it names, stay with us",
         b"Connection: x-own", b"X-Own: secret", lacks=b"secret"),
    back("an upstream's Proxy-Authenticate stays with us", b"Proxy-Authenticate: Basic",
         lacks=b"Basic"),
    Entry(23, "by how many hops OPTIONS may go is counted down",
          head(b"OPTIONS / HTTP/1.1", b"Max-Forwards: 3"), "200, kept",
          plain(b"/", b"max-forwards: 2", method=b"OPTIONS")),
    Entry(23, "OPTIONS that may go no further is answered by us",
          head(b"OPTIONS / HTTP/1.1", b"Max-Forwards: 0"), "204, kept", b"", proxied=False),
    sent("of other methods it means nothing", [b"Max-Forwards: 0"], ours(b"max-forwards: 0")),
    back("an upstream's Trailer stays with us", b"Trailer: x-sum", lacks=b"x-sum"),
    back("what an upstream runs on stays with us", b"Server: nginx/1.2", b"X-Powered-By: PHP",
         b"X-AspNet-Version: 4", lacks=b"nginx"),
    back("which of many servers answered stays with us", b"X-Backend-Server: app-7",
         b"X-Served-By: app-7", b"X-Debug-Token-Link: /app-7", lacks=b"app-7"),
    back("the fault of an inner hop stays with us", b"Switchgear-Fault: {}",
         lacks=b"witchgear-fault"),
    back("an upstream's Via stays with us", b"Via: 1.1 inner.internal", lacks=b"inner.internal"),
    back("an upstream's Date is kept",
         b"Date: Sun, 06 Nov 1994 08:49:37 GMT", has=b"date: Sun, 06 Nov 1994"),
    back("two cookies stay two", b"Set-Cookie: a=1", b"Set-Cookie: b=2",
         has=b"set-cookie: a=1\r\nset-cookie: b=2\r\n"),
]  # fmt: skip
