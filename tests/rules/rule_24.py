"""Rule 24: one normal form of a path, routed and forwarded alike."""

from tests.rules.entry import Entry, head, plain

__all__ = ["ENTRIES"]


def asked(target: bytes) -> bytes:
    return head(b"GET " + target + b" HTTP/1.1")


def refused(clause: str, target: bytes, reason: str) -> Entry:
    return Entry(24, clause, asked(target), f"400 {reason}, closed", b"")


def written(clause: str, target: bytes, forwarded: bytes) -> Entry:
    return Entry(24, clause, asked(target), "200, kept", plain(forwarded))


def routed(clause: str, target: bytes, forwarded: bytes | None, answer: str) -> Entry:
    """Only /shop and what is below it leads anywhere."""
    wire = b"" if forwarded is None else plain(forwarded)
    return Entry(24, clause, asked(target), answer, wire, route=(("path", "/shop"),), proxied=False)


REFUSED: list[tuple[str, bytes, str]] = [
    ("a segment of two dots", b"/a/../b", "dot-segment"),
    ("a segment of two dots at the end", b"/a/..", "dot-segment"),
    ("two dots at the root", b"/..", "dot-segment"),
    ("a segment of one dot", b"/a/./b", "dot-segment"),
    ("one dot at the end", b"/a/.", "dot-segment"),
    ("two escaped dots", b"/a/%2e%2e/b", "dot-segment"),
    ("two escaped dots in capitals", b"/a/%2E%2E/b", "dot-segment"),
    ("a dot and an escaped one", b"/a/.%2e/b", "dot-segment"),
    ("an escaped dot and a dot", b"/a/%2e./b", "dot-segment"),
    ("an escaped dot alone", b"/a/%2e/b", "dot-segment"),
    ("dots behind two slashes", b"//../a", "dot-segment"),
    ("dots escaped twice", b"/a/%252e%252e/b", "escape"),
    ("a slash escaped twice", b"/a%252fb", "escape"),
    ("a backslash escaped twice", b"/a%255Cb", "escape"),
    ("NUL escaped twice", b"/a%2500", "escape"),
    ("dots escaped three times", b"/%25252e%25252e/b", "escape"),
    ("an escaped slash", b"/a%2fb", "escape"),
    ("an escaped slash in capitals", b"/a%2Fb", "escape"),
    ("an escaped backslash", b"/a%5cb", "escape"),
    ("a backslash", b"/a\\b", "backslash"),
    ("dots between backslashes", b"/a\\..\\b", "backslash"),
    ("an escaped NUL", b"/a%00.png", "escape"),
    ("an escaped line break", b"/a%0d%0aX:%20y", "escape"),
    ("an escaped tab", b"/a%09b", "escape"),
    ("an escaped DEL", b"/a%7f", "escape"),
    ("a slash overlong in two bytes", b"/a%c0%afb", "escape"),
    ("a slash overlong in three bytes", b"/a%e0%80%afb", "escape"),
    ("a slash overlong in four bytes", b"/a%f0%80%80%afb", "escape"),
    ("a dot overlong in two bytes", b"/%c0%ae%c0%ae/b", "escape"),
    ("NUL overlong in two bytes", b"/a%c0%80", "escape"),
    ("half a surrogate", b"/a%ed%a0%80", "escape"),
    ("beyond the last code point", b"/a%f4%90%80%80", "escape"),
    ("a byte that begins nothing", b"/a%ff", "escape"),
    ("a letter that is cut", b"/a%c3", "escape"),
    ("an escape of Latin-1", b"/caf%e9", "escape"),
    ("an escape without digits", b"/a%", "escape"),
    ("an escape of one digit", b"/a%2", "escape"),
    ("an escape of other letters", b"/a%zz", "escape"),
    ("an escape of Microsoft's kind", b"/a%u002fb", "escape"),
    ("a path parameter", b"/a;x=y/b", "path-parameter"),
    ("a path parameter behind dots", b"/a/..;/b", "path-parameter"),
    ("a session in the path", b"/a;jsessionid=1", "path-parameter"),
    ("a quote", b'/a"b', "target"),
    ("an angle bracket", b"/a<b", "target"),
    ("a fragment", b"/a#b", "target"),
    ("a quote in the query", b'/?a="', "target"),
]

ENTRIES = [
    *(refused(*one) for one in REFUSED),
    written("two slashes become one", b"/a//b", b"/a/b"),
    written("two slashes at the beginning become one", b"//a/b", b"/a/b"),
    written("what looks like another host is a path", b"//evil.example/x", b"/evil.example/x"),
    written("many slashes become one", b"/a////b//", b"/a/b/"),
    written("a slash at the end stays", b"/a/", b"/a/"),
    written("an escaped letter is written plainly", b"/%61b", b"/ab"),
    written("escapes of unreserved characters are undone", b"/%7e%2D%5f%2ex", b"/~-_.x"),
    written("other escapes are written in capitals", b"/a%20b%c3%a4", b"/a%20b%C3%A4"),
    written("an escaped semicolon stays escaped", b"/a%3bb", b"/a%3Bb"),
    written("an escaped question mark stays escaped", b"/a%3fb", b"/a%3Fb"),
    written("an escaped hash stays escaped", b"/a%23b", b"/a%23b"),
    written("an escaped per cent sign stays escaped", b"/100%25", b"/100%25"),
    written("what browsers send bare is escaped", b"/a|b^c{d}", b"/a%7Cb%5Ec%7Bd%7D"),
    written("three dots are a name", b"/.../a", b"/.../a"),
    written("a name that begins with a dot", b"/.well-known/x", b"/.well-known/x"),
    written("a name that ends with dots", b"/a../b", b"/a../b"),
    written("the query passes as it is", b"/?a=%2e%2e/..//;x&b", b"/?a=%2e%2e/..//;x&b"),
    written("a query within the query", b"/?a?b", b"/?a?b"),
    written("an empty query is none", b"/a?", b"/a"),
    written("brackets in a query are escaped", b"/?a[]=b|c", b"/?a%5B%5D=b%7Cc"),
    routed("a route is found by the normal form", b"//%73hop/x", b"/shop/x", "200, kept"),
    routed("what leads out of a route is refused", b"/shop/%2e%2e/admin", None,
           "400 dot-segment, closed"),
    routed("what leads into a route is refused", b"/admin/..;/shop", None,
           "400 path-parameter, closed"),
    routed("capitals are another path", b"/SHOP", None, "404, kept"),
    routed("a route's name is no beginning of another's", b"/shopping", None, "404, kept"),
]  # fmt: skip
