"""Targets for what headers claim: sealed faults, tokens, deadlines, addresses, traces."""

from ipaddress import ip_address
from math import isfinite
from typing import Final

from fuzz.cuts import reader
from switchgear.gateway.client_address import ClientAddress
from switchgear.gateway.forward import named_by, plain_id, trace_of
from switchgear.http.handshake import check_request
from switchgear.http.headers import Headers
from switchgear.http.limits import network_of
from switchgear.http.message import Request, Response
from switchgear.http.problem import FAULT_HEADER, believed, fault_of, problem, retry_after
from switchgear.http.status import LINES, line
from switchgear.identity.internal import InternalTokens, Vouched
from switchgear.identity.seals import Seals
from switchgear.identity.shared import SharedKeys
from switchgear.policy.call import Principal
from switchgear.policy.codec import LONGEST, decode, encode
from switchgear.policy.fault import Code, Fault
from switchgear.policy.remaining import FLOOR, read_remaining

__all__ = ["addresses", "deadlines", "faults", "tokens"]

NOW: Final = 1_800_000_000.0
KEYS: Final = SharedKeys({"a": b"k" * 32, "b": b"l" * 32}, "a")
SEALS: Final = Seals(KEYS, "fault")
TOKENS: Final = InternalTokens(KEYS)
CLIENTS: Final = ClientAddress(("10.0.0.0/8", "192.0.2.1/32", "::1/128", "fe80::/10"))


def faults(data: bytes) -> None:
    """Read a `switchgear-fault` header: sealed, opened without a seal, and as bare JSON."""
    (flavour,), data = reader(data, 1)
    text = data.decode("latin-1")
    opened = SEALS.unseal(text, NOW)
    assert opened is None, "a seal was forged"
    if flavour & 1 and text.isascii():
        sealed = SEALS.seal(text, NOW)
        assert SEALS.unseal(sealed, NOW) == (text if len(sealed) <= 16 << 10 else None)
        spoilt = flavour % len(sealed)
        other = sealed[:spoilt] + chr(ord(sealed[spoilt]) ^ 1) + sealed[spoilt + 1 :]
        assert SEALS.unseal(other, NOW) is None
        assert SEALS.unseal(sealed, NOW + 60) is None
    for given in (text, data):
        _fault(decode(given))
    answer = Response(503, Headers.parsed([(FAULT_HEADER, text), ("retry-after", text)], None))
    told = fault_of(answer, "x", trusted=True)
    assert isinstance(told, Fault)
    wait = retry_after(answer.headers)
    assert wait is None or 0 <= wait < 1e6
    _fault(told)
    believed(answer, lambda sealed: SEALS.unseal(sealed, NOW))
    assert FAULT_HEADER not in answer.headers


def _fault(fault: Fault | None) -> None:
    """See that a fault that was read can be written again, and answered with."""
    if fault is None:
        return
    assert isinstance(fault.code, Code)
    written = encode(fault)
    assert written.isascii()
    assert written.isprintable()
    assert len(written) <= LONGEST
    again = decode(written)
    assert again is not None
    assert encode(again) == written, "it changes each time it is written"
    answer = problem(fault)
    assert 400 <= answer.status <= 599
    head = (LINES.get(answer.status) or line(answer.status)) + answer.headers.wire()
    assert head.count(b"\n") == 1 + len(answer.headers)


def tokens(data: bytes) -> None:
    """Verify an internal token: what it vouches for, or a fault."""
    (flavour,), data = reader(data, 1)
    text = data.decode("latin-1")
    parts = ("service", "GET", "/a", "id")
    for token in (text, f"a.{text}", f"a.1800000010000.{text}"):
        try:
            TOKENS.verify(token, *parts, NOW)
        except Fault as fault:
            assert fault.code is Code.UNAUTHENTICATED
        else:
            raise AssertionError("a token was forged")
    who = Vouched(Principal("s", "t", frozenset({"a"})))
    good = TOKENS.mint(who, *parts, NOW)
    assert TOKENS.verify(good, *parts, NOW) == who
    at = flavour % len(good)
    for spoilt in (good[:at] + chr(ord(good[at]) ^ 1) + good[at + 1 :], good + text, text + good):
        try:
            assert spoilt == good or TOKENS.verify(spoilt, *parts, NOW) is None
        except Fault as fault:
            assert fault.code is Code.UNAUTHENTICATED
    for at in range(4):
        other = [*parts]
        other[at] += text or "x"
        try:
            TOKENS.verify(good, other[0], other[1], other[2], other[3], NOW)
        except Fault as fault:
            assert fault.code is Code.UNAUTHENTICATED
        else:
            raise AssertionError("a token served another request")


def deadlines(data: bytes) -> None:
    """Read deadlines, traces, request ids and handshake keys of strangers."""
    (flavour,), data = reader(data, 1)
    text = data.decode("latin-1")
    first, _, second = text.partition(",")
    names = ("switchgear-deadline-ms", "grpc-timeout", "x-envoy-expected-rq-timeout-ms")
    one, two = names[flavour % 3], names[flavour // 3 % 3]
    headers = Headers.parsed([(one, first), (two, second)], None)
    asked = read_remaining(headers.get)
    assert asked is None or (isfinite(asked) and asked >= FLOOR)
    trusted = read_remaining(headers.get, trusted=True)
    assert trusted is None or (isfinite(trusted) and trusted >= 0)
    trace = trace_of(text)
    for digits, size in ((trace.trace_id, 32), (trace.span_id, 16)):
        assert len(digits) == size
        assert set(digits) <= set("0123456789abcdef")
        assert int(digits, 16)
    name = text if plain_id(text) else named_by(trace)
    assert name.isascii()
    assert name.replace("-", "").isalnum()
    assert 8 <= len(name) <= 64
    pairs = [("sec-websocket-version", "13"), ("sec-websocket-key", text)]
    request = Request("GET", "/", headers=Headers.parsed(pairs, None), upgrade="websocket")
    try:
        assert len(check_request(request)) >= 22
    except Fault as fault:
        assert fault.extra["status"] in (400, 426)


def addresses(data: bytes) -> None:
    """Walk X-Forwarded-For: to an address, which is counted by its network."""
    (flavour,), data = reader(data, 1)
    text = data.decode("latin-1")
    peer = ("10.0.0.1", "192.0.2.9", "unix", "::1", "fe80::1%eth0", text)[flavour % 6]
    lines = [("x-forwarded-for", value) for value in text.split("\n")]
    client = CLIENTS.of(peer, Headers.parsed(lines, None))
    if client is not None:
        ip_address(client)
        assert "%" not in client
        assert CLIENTS.of(peer, Headers.parsed([("x-forwarded-for", client)], None)) == client
        assert network_of(client) == network_of(network_of(client).partition("/")[0])
    elif flavour % 6 in (0, 3):
        raise AssertionError(f"{peer} is trusted, and was not believed")
    assert isinstance(network_of(text), str)
