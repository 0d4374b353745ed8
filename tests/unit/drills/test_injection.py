"""Injections as values: what the control accepts, and what it says about the rest."""

import msgspec
import pytest

from switchgear.drills.injection import Cut, Delay, Drip, Injection, Refuse, Slice, kind

decoder = msgspec.json.Decoder(Injection)


def test_an_injection_is_told_by_its_kind() -> None:
    decoded = decoder.decode(b'{"kind": "delay", "seconds": 0.2, "direction": "down"}')
    assert decoded == Delay(seconds=0.2, direction="down")
    assert kind(decoded) == "delay"
    assert msgspec.json.decode(msgspec.json.encode(decoded))["kind"] == "delay"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"kind": "delay"}', "missing required field `seconds`"),
        (b'{"kind": "delay", "seconds": -1}', "seconds -1.0 is below 0"),
        (b'{"kind": "melt"}', "Invalid value 'melt'"),
        (b'{"kind": "cut", "share": 0}', "share 0.0 is not above 0"),
        (b'{"kind": "cut", "direction": "sideways"}', "Invalid enum value 'sideways'"),
        (b'{"kind": "refuse", "share": 0.5}', "refuses everybody"),
        (b'{"kind": "cut", "after": 5}', "unknown field `after`"),
    ],
)
def test_a_wrong_injection_is_refused_with_a_sentence(line: bytes, says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        decoder.decode(line)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cut(after_bytes=-1),
        lambda: Drip(size=0),
        lambda: Slice(size=0),
        lambda: Delay(seconds=1, jitter=-1),
        lambda: Refuse(share=0.5),
    ],
)
def test_a_wrong_value_is_refused_where_it_is_made(make: type) -> None:
    with pytest.raises(ValueError):
        make()
