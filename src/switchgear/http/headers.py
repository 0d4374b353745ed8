"""Headers: an immutable list of fields, looked up by lower-case name, written once.

What leaves us has been read by a strict reader: framing is ours and is never copied, and
what belongs to one hop stays there (rules 22 and 23). So `wire` leaves those fields out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from switchgear.http.fields import TEXT
from switchgear.http.names import COMMON
from switchgear.http.unwritable import UnwritableError

__all__ = ["HOP", "Headers"]

HOP: Final = frozenset(
    {
        "connection",
        "content-length",
        "content_length",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "transfer_encoding",
        "upgrade",
    }
)
"""Fields of one hop or of its framing, with the underscore twins that CGI reads as them."""

# Written with hyphens: see `_crosses`.
_IDENTITY: Final = re.compile(
    r"(?:x-(?:user|forwarded|remote|original|rewrite|real|client)|switchgear)(?:-.*)?"
    r"|forwarded(?:-.*)?|(?:(?:true|fastly|fly|x-cluster)-)?client-ip"
    r"|(?:cf|do)-connecting-ip(?:v6)?|x-nf-client-connection-ip|x-vercel-(?:forwarded|proxied)-for"
    r"|x-azure-clientip|remote-(?:user|addr|name|email|groups)"
    # What proxies that sign people in tell those behind them: oauth2-proxy, Grafana's, nginx with
    # client certificates, Kong, Apache's for OpenID and Shibboleth, Google's and Azure's.
    r"|x-authenticated-.*|x-auth-(?:user|email|group|role).*|oidc-.*|shib-.*"
    r"|x-(?:auth-request|webauth|ssl-client|consumer|goog-authenticated-user)-.*"
    r"|ssl-client-.*|x-ms-client-principal(?:-.*)?"
    r"|x-(?:host|scheme|url-scheme)|front-end-https"
    # A client's certificate (RFC 9440, and before it), and what others tell in plain words: Amazon,
    # Cloudflare, Pomerium, App Engine, Tailscale, authentik, Vouch, Kong, Envoy. What they sign
    # crosses: it is for whoever verifies it.
    r"|client-cert(?:-chain)?|x-ssl-(?:cert|verify)|x-arr-clientcert|x-amzn-mtls-.*"
    r"|cf-client-cert-.*|x-(?:endpoint|apigateway)-api-userinfo"
    r"|x-amzn-oidc-identity|cf-access-authenticated-user-email"
    r"|x-(?:pomerium-claim|appengine|authentik|vouch|credential)-.*"
    r"|(?:x-)?tailscale-user(?:-.*)?|x-anonymous-consumer|x-userinfo"
    r"|x-envoy-(?:external-address|internal|original-.*|peer-.*|downstream-.*)"
    r"|x-originating-ip|x-azure-socketip|x-(?:http-)?host-override"
    # What another method is asked for by was authorised as this one; `Proxy` is CGI's HTTP_PROXY.
    r"|x-http-method(?:-override)?|x-method-override|proxy"
)
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]++")
# Names that were found to be well formed. It stops growing: a stranger must not fill it.
_SENT: Final[set[str]] = set(COMMON)
_SENT_KEPT: Final = 512
# Never dropped by nomination: a client must not unname what the message hangs on.
_FIRM: Final = frozenset({"host", "cookie", "authorization", "set-cookie", "content-type", ""})

# Names that were found to cross the trust boundary. It stops growing: a stranger must not fill it.
_CROSSING: Final[set[str]] = {name for name in COMMON if name not in HOP}
_CROSSING_KEPT: Final = 512

# What is no letter or digit is the same to those that make variables of names: CGI (hyphens and
# underscores), PHP (dots, too), lighttpd (all of it).
_ODD: Final = re.compile(r"[^0-9a-z]")
_REQUEST_ID: Final = "x-request-id"  # which a client may give, under its own name alone

Pairs = Iterable[tuple[str, str]]


class Headers:
    """An ordered list of (name, value) pairs; names are in lower case, values in latin-1.

    `get` joins repeated fields by a comma (cookies by a semicolon), as RFC 9110 section 5.3 has it.
    """

    __slots__ = ("_index", "_pairs", "_wire", "dated", "notes")

    _pairs: tuple[tuple[str, str], ...] | list[tuple[str, str]]
    _index: dict[str, str] | None
    _wire: bytes | None
    dated: bool  # whether `wire` has a Date; known once it was written
    notes: Any  # what a reader has found out of them, and need not find out again

    def __init__(self, pairs: Pairs | Mapping[str, str] = ()) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        self._pairs = tuple((name.lower(), value) for name, value in items)
        self._index = None
        self._wire = None
        self.notes = None

    @classmethod
    def parsed(cls, pairs: list[tuple[str, str]], index: dict[str, str] | None) -> "Headers":
        """Wrap what a strict parser has read, without looking at it again."""
        headers: Headers = _new(cls)
        headers._pairs = pairs
        headers._index = index
        headers._wire = None
        headers.notes = None
        return headers

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return a field's value by its name in lower case, or `default`."""
        index = self._index
        if index is None:
            index = self._look()
        return index.get(name, default)

    def all(self, name: str) -> list[str]:
        """Return every value of a field, in order."""
        return [value for key, value in self._pairs if key == name]

    def tokens(self, name: str) -> list[str]:
        """Return a comma-separated list field as its members, in lower case."""
        value = self.get(name)
        return [part.strip().lower() for part in value.split(",")] if value else []

    def _look(self) -> dict[str, str]:
        index: dict[str, str] = {}
        for name, value in self._pairs:
            if name in index:
                joint = "; " if name == "cookie" else ", "
                index[name] = f"{index[name]}{joint}{value}"
            else:
                index[name] = value
        self._index = index
        return index

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and tuple(self._pairs) == tuple(other._pairs)

    def __hash__(self) -> int:
        return hash(tuple(self._pairs))

    def __repr__(self) -> str:
        return f"Headers({list(self._pairs)!r})"

    def also(self, pairs: Pairs | Mapping[str, str]) -> "Headers":
        """Return these headers with `pairs` added, replacing fields of the same names."""
        added = Headers(pairs)
        names = {name for name, _ in added}
        kept = [pair for pair in self._pairs if pair[0] not in names]
        return Headers.parsed([*kept, *added], None)

    def without(self, *names: str) -> "Headers":
        """Return these headers without the fields of those names."""
        return Headers.parsed([pair for pair in self._pairs if pair[0] not in names], None)

    def nominated(self) -> frozenset[str]:
        """Return the fields that `Connection` claims for this hop."""
        return frozenset(self.tokens("connection")) - _FIRM

    def forwardable(self) -> "Headers":
        """Return what may cross the trust boundary inwards.

        Hop-by-hop fields go, and every claim of identity or origin that a stranger could
        make: X-User-*, X-Forwarded-*, X-Real-IP, X-Original-*, Forwarded, switchgear-* and
        their like, and what reads as one of them where other signs than letters and digits are
        all the same.
        """
        stays = self.nominated() if self.get("connection") is not None else ()
        crossing = _CROSSING
        return Headers.parsed(
            [
                pair
                for pair in self._pairs
                if (pair[0] in crossing or _crosses(pair[0])) and pair[0] not in stays
            ],
            None,
        )

    def wire(self) -> bytes:
        """Return the field lines as they are sent, without framing and hop-by-hop fields.

        Raises UnwritableError for a name or value that would break out of its line: a
        handler must not be able to write a header by way of another's value.
        """
        wire = self._wire
        if wire is None:
            self.dated = self.get("date") is not None
            dropped = HOP
            if self.get("connection") is not None:
                dropped = HOP | self.nominated()
            lines = []
            for name, value in self._pairs:
                if name not in dropped:
                    if name not in _SENT:
                        _check_name(name)
                    lines.append(f"{name}: {value}\r\n")
            try:
                wire = "".join(lines).encode("latin-1")
            except UnicodeEncodeError as error:
                raise UnwritableError(f"these headers cannot be sent: {error}") from None
            if wire.translate(None, TEXT) != b"\r\n" * len(lines):
                raise UnwritableError(f"these headers cannot be sent: {wire[:80]!r}")
            self._wire = wire
        return wire


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise UnwritableError(f"this header cannot be sent: {name[:80]!r}")
    if len(_SENT) < _SENT_KEPT and len(name) <= 64:
        _SENT.add(name)


def _crosses(name: str) -> bool:
    """Say whether a field of this name is no hop's and nobody's claim."""
    read = _ODD.sub("-", name)
    if read in HOP or _IDENTITY.fullmatch(read) is not None:
        return False
    if read == _REQUEST_ID != name:
        return False
    if len(_CROSSING) < _CROSSING_KEPT and len(name) <= 64:
        _CROSSING.add(name)
    return True


_new: Final[Any] = Headers.__new__
