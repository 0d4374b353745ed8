"""Key sets: never hammered, never emptied by an outage, never a 401 where nobody can know."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from switchgear.identity.jwks import KeySet, KeySetSettings, read_jwks
from switchgear.identity.keys import SigningKey, jwks
from switchgear.policy.fault import Code, Fault

pytestmark = pytest.mark.virtual

ONE, TWO = SigningKey.generate(), SigningKey.generate()


class Issuer:
    """A key service that can be slow, down, or change its keys."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = list(keys)
        self.delay = 0.0
        self.error: Exception | None = None
        self.document: bytes | None = None
        self.fetches = 0

    async def fetch(self) -> bytes:
        self.fetches += 1
        await asyncio.sleep(self.delay)
        if self.error is not None:
            raise self.error
        return jwks(self.keys) if self.document is None else self.document


def key_set(issuer: Issuer, **settings: Any) -> KeySet:
    return KeySet(issuer.fetch, KeySetSettings(**settings), clock())


def clock() -> Callable[[], float]:
    return asyncio.get_running_loop().time


async def code(keys: KeySet, kid: str) -> Code:
    with pytest.raises(Fault) as caught:
        await keys.key(kid)
    return caught.value.code


async def test_the_first_use_fetches_and_the_next_does_not() -> None:
    issuer = Issuer(ONE)
    keys = key_set(issuer)
    assert keys.known(ONE.kid) is None
    assert (await keys.key(ONE.kid)).kid == ONE.kid
    assert await keys.key(ONE.kid) is keys.known(ONE.kid)
    assert issuer.fetches == 1


async def test_a_kid_matches_exactly() -> None:
    keys = key_set(Issuer(ONE))
    await keys.refresh()
    for kid in (ONE.kid.lower(), ONE.kid + " ", ONE.kid[:-1], ""):
        assert keys.known(kid) is None


async def test_unknown_kids_cause_one_fetch_per_interval() -> None:
    issuer = Issuer(ONE)
    keys = key_set(issuer, interval=5.0)
    for number in range(200):
        assert await code(keys, f"random-{number}") is Code.UNAUTHENTICATED
        await asyncio.sleep(0.05)  # ten seconds in all
    assert issuer.fetches == 2


async def test_a_missing_kid_is_remembered_beyond_the_interval() -> None:
    issuer = Issuer(ONE)
    keys = key_set(issuer, interval=5.0, negative=60.0)
    for _ in range(10):
        assert await code(keys, "gone") is Code.UNAUTHENTICATED
        await asyncio.sleep(5.5)
    assert issuer.fetches == 1
    await asyncio.sleep(10.0)
    assert await code(keys, "gone") is Code.UNAUTHENTICATED
    assert issuer.fetches == 2


async def test_the_memory_of_missing_kids_is_bounded() -> None:
    keys = key_set(Issuer(ONE), interval=0.001, memory=3)
    for number in range(10):
        assert await code(keys, str(number)) is Code.UNAUTHENTICATED
        await asyncio.sleep(0.01)
    assert keys.statistics()["missing"] == 3


async def test_a_new_key_is_found_once_the_interval_is_over() -> None:
    issuer = Issuer(ONE)
    keys = key_set(issuer, interval=5.0, negative=60.0)
    await keys.key(ONE.kid)
    issuer.keys.append(TWO)
    await asyncio.sleep(6.0)
    assert (await keys.key(TWO.kid)).kid == TWO.kid


async def test_a_refresh_brings_back_a_kid_that_was_missing() -> None:
    issuer = Issuer(ONE)
    keys = key_set(issuer)
    assert await code(keys, TWO.kid) is Code.UNAUTHENTICATED
    issuer.keys.append(TWO)
    await keys.refresh()
    assert (await keys.key(TWO.kid)).kid == TWO.kid


async def test_waiters_share_one_flight_and_one_leaving_does_not_end_it() -> None:
    issuer = Issuer(ONE)
    issuer.delay = 1.0
    keys = key_set(issuer)
    waiting = [asyncio.create_task(keys.key(ONE.kid)) for _ in range(50)]
    await asyncio.sleep(0.5)
    waiting[0].cancel()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert {key.kid for key in found[1:] if not isinstance(key, BaseException)} == {ONE.kid}
    assert issuer.fetches == 1


@pytest.mark.parametrize(
    "broken",
    [
        ConnectionError("refused"),
        b"",
        b"not json",
        b"[]",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":[{"kty":"oct","k":"AA","kid":"x"}]}',
        b'{"keys":[1,null]}',
        b'{"keys":[' + b"{}," * 64 + b"{}]}",
        b'{"keys":[]}' + b" " * 70_000,
        b"[" * 100_000,
    ],
    ids=lambda broken: repr(broken)[:30],
)
async def test_while_the_service_is_down_known_keys_serve_and_unknown_ones_are_503(
    broken: bytes | Exception,
) -> None:
    issuer = Issuer(ONE)
    keys = key_set(issuer, interval=5.0)
    await keys.refresh()
    if isinstance(broken, bytes):
        issuer.document = broken
    else:
        issuer.error = broken
    await asyncio.sleep(6.0)
    for _ in range(5):
        assert await code(keys, TWO.kid) is Code.UNAVAILABLE
        assert (await keys.key(ONE.kid)).kid == ONE.kid
    assert issuer.fetches == 2
    issuer.error, issuer.document, issuer.keys = None, None, [ONE, TWO]
    await asyncio.sleep(6.0)
    assert (await keys.key(TWO.kid)).kid == TWO.kid


async def test_a_service_that_never_answered_is_503_with_a_time_to_wait() -> None:
    issuer = Issuer(ONE)
    issuer.delay = 3600.0
    keys = key_set(issuer, timeout=2.0, interval=5.0)
    started = clock()()
    with pytest.raises(Fault) as caught:
        await keys.key(ONE.kid)
    assert clock()() - started == pytest.approx(2.0)
    assert caught.value.code is Code.UNAVAILABLE
    with pytest.raises(Fault) as caught:
        await keys.key(ONE.kid)
    assert caught.value.retry_after == pytest.approx(3.0)
    assert issuer.fetches == 1
    with pytest.raises(Fault):
        await keys.refresh()


async def test_a_refresh_that_came_too_early_keeps_no_token_waiting() -> None:
    """Only strangers' tokens are held to the interval: who owns the set asks when it likes."""
    issuer = Issuer(ONE)
    issuer.error = ConnectionRefusedError("still starting")
    keys = key_set(issuer, interval=5.0)
    with pytest.raises(Fault):
        await keys.refresh()
    issuer.error = None
    assert (await keys.key(ONE.kid)).kid == ONE.kid
    assert issuer.fetches == 2


async def test_withdrawn_and_replaced_keys_are_told() -> None:
    issuer = Issuer(ONE, TWO)
    keys = key_set(issuer)
    told: list[frozenset[str]] = []
    keys.on_withdrawal(told.append)
    await keys.refresh()
    await keys.refresh()
    assert told == []
    issuer.keys = [TWO]
    await keys.refresh()
    assert told == [{ONE.kid}]
    assert keys.known(ONE.kid) is None
    issuer.document = json.dumps({"keys": [{**ONE.public(), "kid": TWO.kid}]}).encode()
    await keys.refresh()
    assert told == [{ONE.kid}, {TWO.kid}]


async def test_closing_ends_the_flight_and_answers_who_waits() -> None:
    issuer = Issuer(ONE)
    issuer.delay = 1.0
    keys = key_set(issuer, timeout=10.0)
    waiting = asyncio.create_task(keys.key(ONE.kid))
    await asyncio.sleep(0.1)
    await keys.close()
    with pytest.raises(Fault, match="called off"):
        await waiting
    await keys.close()


async def test_two_keys_under_one_kid_are_both_refused() -> None:
    document = {
        "keys": [ONE.public(), {**TWO.public(), "kid": ONE.kid}, TWO.public(), {"kid": "x"}]
    }
    keys, refused = read_jwks(json.dumps(document).encode())
    assert list(keys) == [TWO.kid]
    assert any("more than once" in why for why in refused)
    assert len(refused) == 2
