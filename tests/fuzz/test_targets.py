"""Every target under Hypothesis, by the grammar of nearly valid messages; and can each fail?"""

import re
from collections.abc import Callable
from ipaddress import ip_address
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.shrink import shrink, symptom
from fuzz.targets import TARGETS, proxy
from switchgear.gateway import client_address, forward
from switchgear.http import fields, frames, headers, heads, problem, target
from switchgear.http.bodies import Chunks, Counted
from switchgear.identity import internal

randoms = st.randoms(use_true_random=False)
quick = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", [name for name in TARGETS if not name.startswith("proxy")])
@settings(quick, max_examples=40)
@given(randoms)
def test_nearly_valid_bytes_break_no_rule(name: str, random: Random) -> None:
    TARGETS[name].run(TARGETS[name].make(random))


@pytest.mark.parametrize("name", TARGETS)
@settings(quick, max_examples=10)
@given(st.binary(max_size=300))
def test_noise_breaks_no_rule(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


@settings(quick, max_examples=200)
@given(randoms)
def test_whatever_is_forwarded_is_read_alike_by_h11_and_by_aiohttp(random: Random) -> None:
    proxy.proxy_requests(TARGETS["proxy_requests"].make(random))


@settings(quick, max_examples=200)
@given(randoms)
def test_whatever_is_handed_back_is_read_alike_by_h11_and_by_aiohttp(random: Random) -> None:
    proxy.proxy_answers(TARGETS["proxy_answers"].make(random))


def _unread(counted: Counted, data: bytes) -> tuple[bytes, bytes]:
    counted.left = max(0, counted.left - len(data))
    counted.done = not counted.left
    return data, b""


def _unended(chunks: Chunks, data: bytes, at: int, payload: list[bytes]) -> int:
    part = data[at : at + chunks._left]
    payload.append(part[: max(0, chunks._left - 2)])
    chunks._left -= len(part)
    return at + len(part)


def _both(field: Callable[[str], str | None], minor: int) -> int | None:
    length = field("content-length")
    return heads.CHUNKED if field("transfer-encoding") else int(length or 0)


def _scoped(text: str) -> Any:
    try:
        return ip_address(text)
    except ValueError:
        return None


ANYTHING = re.compile(r"(?s).*")
LAX = re.compile(r"(?s)HTTP/1\.([01]) ([1-9][0-9]{2}).*")
NOTHING = re.compile(r"(?!)")

# A break of the code for each target: what it would let through must be seen.
BREAKS: dict[str, Callable[[], Any]] = {
    "request_heads": lambda: patch.object(heads, "_framing", _both),
    "response_heads": lambda: patch.object(heads, "_STATUS_LINE", LAX),
    "field_lines": lambda: patch.multiple(
        fields, _NAMES={}, _name=lambda raw: raw.decode("latin-1")
    ),
    "targets": lambda: patch.object(target, "_DOTS", NOTHING),
    "chunks": lambda: patch.object(Chunks, "_inside", _unended),
    "lengths": lambda: patch.object(Counted, "feed", _unread),
    "frames": lambda: patch.object(frames, "_text", lambda data: data.decode("utf-8", "replace")),
    "faults": lambda: patch.object(problem, "_METHOD", ANYTHING),
    "tokens": lambda: patch.object(internal, "compare_digest", lambda _one, _other: True),
    "deadlines": lambda: patch.object(forward, "_HEX", frozenset(map(chr, range(256)))),
    "addresses": lambda: patch.object(client_address, "_read", _scoped),
    "server": lambda: patch.object(Counted, "feed", _unread),
    "client": lambda: patch.object(Counted, "close", lambda _: True),
    "proxy_requests": lambda: patch.multiple(headers, _CROSSING=set(), _IDENTITY=NOTHING),
    "proxy_answers": lambda: patch.object(Counted, "close", lambda _: True),
}


@pytest.mark.pure
@pytest.mark.parametrize("name", TARGETS)
def test_a_break_of_the_code_is_found(name: str) -> None:
    broken, random = TARGETS[name], Random(5)
    with BREAKS[name]():
        made = (broken.make(random) for _ in range(3000))
        assert any(symptom(broken.run, data) is not None for data in made)


def test_what_is_found_is_shrunk_to_what_is_needed() -> None:
    found = b"GET /" + b"a" * 200 + b"/x\0y/" + b"b" * 100

    def run(data: bytes) -> None:
        assert b"\0" not in data, "a NUL"

    assert shrink(run, found) == b"\0"
    assert shrink(run, b"no harm") == b"no harm"
