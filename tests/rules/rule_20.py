"""Rule 20: Host, targets, methods and versions."""

from tests.rules.entry import Entry, head, plain

__all__ = ["ENTRIES"]


def refused(clause: str, sent: bytes, reason: str, status: int = 400) -> Entry:
    return Entry(20, clause, sent, f"{status} {reason}, closed", b"")


def taken(clause: str, sent: bytes, forwarded: bytes, answer: str = "200, kept") -> Entry:
    return Entry(20, clause, sent, answer, forwarded, proxied=answer.startswith("200"))


GET = b"GET / HTTP/1.1"
HOSTS: list[tuple[str, bytes]] = [
    ("no Host", b""),
    ("an empty Host", b"Host:"),
    ("a Host of blanks", b"Host: \t "),
    ("a comma-listed Host", b"Host: a,b"),
    ("a Host with a blank within", b"Host: a b"),
    ("a Host with userinfo", b"Host: user@a"),
    ("a Host with userinfo and a password", b"Host: user:pass@a"),
    ("a Host with a path", b"Host: a/admin"),
    ("a Host with a query", b"Host: a?b"),
    ("a Host with a fragment", b"Host: a#b"),
    ("a Host with a backslash", b"Host: a\\b"),
    ("a Host that is a whole URL", b"Host: http://a"),
    ("a Host with an escape", b"Host: %61"),
    ("a Host with a port over 65535", b"Host: a:99999"),
    ("a Host with a port of letters", b"Host: a:http"),
    ("a Host with an empty port", b"Host: a:"),
    ("a Host with a signed port", b"Host: a:+80"),
    ("a Host with two ports", b"Host: a:80:80"),
    ("a Host beyond ASCII", b"Host: \xc3\xa4"),
    ("a Host in quotes", b'Host: "a"'),
    ("an IPv6 Host without brackets", b"Host: ::1"),
    ("brackets around what is no IPv6 address", b"Host: [1::2::3]"),
    ("an IPv6 Host with a zone", b"Host: [fe80::1%25eth0]"),
    ("an IPv6 Host with what follows its bracket", b"Host: [::1]a"),
    ("a Host of a dot alone", b"Host: ."),
    ("a Host with an empty label", b"Host: a..b"),
    ("a Host that is longer than names are", b"Host: " + b"a" * 262),
]

ENTRIES = [
    *(
        refused(clause, head(GET, host=line), "host")
        for clause, line in HOSTS
    ),
    refused("two Hosts", head(GET, b"Host: b"), "host"),
    refused("the same Host twice", head(GET, b"Host: a"), "host"),
    refused("two Hosts, one in other letters", head(GET, b"hOST: b"), "host"),
    taken(
        "HTTP/1.0 without Host is served, and gets the upstream's own",
        head(b"GET / HTTP/1.0", host=b""),
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1:<port>\r\n\r\n",
        "200, closed",
    ),
    taken("a Host with a port", head(GET, host=b"Host: a:8080"),
          b"GET / HTTP/1.1\r\nhost: a:8080\r\n\r\n"),
    taken("an IPv6 Host", head(GET, host=b"Host: [::1]:8080"),
          b"GET / HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n"),
    taken("a Host with a dot at its end", head(GET, host=b"Host: a.example."),
          b"GET / HTTP/1.1\r\nhost: a.example.\r\n\r\n"),
    taken("the name of Host in other letters", head(GET, host=b"hoST: a"), plain()),
    # Targets
    taken("an absolute target is forwarded in origin form", head(b"GET http://a/x?y HTTP/1.1"),
          plain(b"/x?y")),
    taken("an absolute target whose port is the scheme's own", head(b"GET http://A:80/ HTTP/1.1"),
          plain()),
    taken("an absolute target with no path", head(b"GET http://a?x HTTP/1.1"), plain(b"/?x")),
    refused("an absolute target that differs from Host", head(b"GET http://b/ HTTP/1.1"), "host"),
    refused("an absolute target whose port differs from Host's",
            head(b"GET http://a:81/ HTTP/1.1"), "host"),
    refused("an absolute target with userinfo", head(b"GET http://u@a/ HTTP/1.1"), "target"),
    refused("an absolute target without Host", head(b"GET http://a/ HTTP/1.1", host=b""), "host"),
    refused("an absolute target with an empty authority", head(b"GET http:/// HTTP/1.1"), "target"),
    refused("an absolute target of another scheme", head(b"GET ftp://a/ HTTP/1.1"), "target"),
    refused("an absolute target of a file", head(b"GET file:///etc/passwd HTTP/1.1"), "target"),
    refused("an absolute target with a fragment", head(b"GET http://a/#x HTTP/1.1"), "target"),
    refused("an absolute target with a backslash", head(b"GET http://a\\b/ HTTP/1.1"), "target"),
    refused("an absolute target whose port is over 65535",
            head(b"GET http://a:99999/ HTTP/1.1", host=b"Host: a:99999"), "host"),
    refused("GET *", head(b"GET * HTTP/1.1"), "target"),
    refused("a target of a star and more", head(b"OPTIONS *x HTTP/1.1"), "target"),
    taken("OPTIONS * reaches no route", head(b"OPTIONS * HTTP/1.1"), b"", "404, kept"),
    Entry(20, "an absolute target of https that came in the clear",
          head(b"GET https://a/ HTTP/1.1"), "421 target, closed", b"", proxied=False),
    taken("an absolute target of HTTP/1.0 is its Host",
          head(b"GET http://a/x HTTP/1.0", host=b""), b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n",
          "200, closed"),
    refused("a target that grows by its escapes", head(b"GET /?" + 3000 * b"[" + b" HTTP/1.1"),
            "target-too-large", 414),
    refused("a target without a slash", head(b"GET x HTTP/1.1"), "target"),
    refused("a target that is a question mark", head(b"GET ?x HTTP/1.1"), "target"),
    refused("a target in authority form", head(b"GET a:80 HTTP/1.1"), "target"),
    refused("a target with a fragment", head(b"GET /#x HTTP/1.1"), "target"),
    refused("a target with a fragment behind its query", head(b"GET /?a#x HTTP/1.1"), "target"),
    refused("a target beyond ASCII", head(b"GET /\xc3\xa4 HTTP/1.1"), "target"),
    refused("an empty target", head(b"GET  HTTP/1.1"), "target"),
    refused("CONNECT", head(b"CONNECT a:80 HTTP/1.1"), "connect"),
    refused("CONNECT with a path", head(b"CONNECT /x HTTP/1.1"), "connect"),
    # The request line
    refused("two blanks before the target", head(b"GET  / HTTP/1.1"), "request-line"),
    refused("two blanks behind the target", head(b"GET /  HTTP/1.1"), "request-line"),
    refused("a tab in the request line", head(b"GET\t/ HTTP/1.1"), "request-line"),
    refused("a vertical tab in the request line", head(b"GET\x0b/ HTTP/1.1"), "request-line"),
    refused("a blank at the line's beginning", head(b" GET / HTTP/1.1"), "request-line"),
    refused("a blank at the line's end", head(b"GET / HTTP/1.1 "), "request-line"),
    refused("a blank within the target", head(b"GET /a b HTTP/1.1"), "request-line"),
    refused("NUL in the target", head(b"GET /\0 HTTP/1.1"), "target"),
    refused("DEL in the target", head(b"GET /\x7f HTTP/1.1"), "target"),
    refused("CR in the request line", head(b"GET /\rx HTTP/1.1"), "target"),
    refused("a bare LF ends the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", "request-line"),
    refused("a method in small letters", head(b"get / HTTP/1.1"), "request-line"),
    refused("a method of mixed letters", head(b"Get / HTTP/1.1"), "request-line"),
    refused("a method with a colon", head(b"G:T / HTTP/1.1"), "request-line"),
    refused("a method of 40 letters", head(b"A" * 40 + b" / HTTP/1.1"), "request-line"),
    taken("a method that nobody knows", head(b"BREW / HTTP/1.1"), plain(method=b"BREW")),
    taken("TRACE is served nowhere", head(b"TRACE / HTTP/1.1"), b"", "501, kept"),
    # Versions
    refused("HTTP/1.2", head(b"GET / HTTP/1.2"), "version", 505),
    refused("HTTP/2.0", head(b"GET / HTTP/2.0"), "version", 505),
    refused("HTTP/0.9 with a version", head(b"GET / HTTP/0.9"), "version", 505),
    refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version", 505),
    refused("HTTP/0.9, without a version", b"GET /\r\n\r\n", "request-line"),
    refused("a version in small letters", head(b"GET / http/1.1"), "request-line"),
    refused("a version of two digits", head(b"GET / HTTP/1.10"), "request-line"),
    refused("a version without a dot", head(b"GET / HTTP/1"), "request-line"),
    refused("a version with a zero before it", head(b"GET / HTTP/01.1"), "request-line"),
    refused("a version with a sign", head(b"GET / HTTP/+1.1"), "request-line"),
    refused("another protocol's name", head(b"GET / ICAP/1.0"), "request-line"),
    refused("the beginning of TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
            "request-line"),
    taken("one empty line before a request is skipped", b"\r\n" + head(GET), plain()),
    refused("two empty lines before a request", b"\r\n\r\n" + head(GET), "line-break"),
]  # fmt: skip
