"""Deadlines of clients: understood, floored, and never longer than ours (rule 11)."""

import pytest

from switchgear.gateway.hurry import FLOOR, asked_for
from switchgear.http.headers import Headers

GRPC, ENVOY = "grpc-timeout", "x-envoy-expected-rq-timeout-ms"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({GRPC: "2S"}, 2.0),
        ({GRPC: "1500m"}, 1.5),
        ({GRPC: "2M"}, 120.0),
        ({GRPC: "1H"}, 3600.0),
        ({GRPC: "500000u"}, 0.5),
        ({GRPC: "99999999n"}, FLOOR),
        ({GRPC: "0S"}, FLOOR),
        ({ENVOY: "250"}, 0.25),
        ({ENVOY: "1"}, FLOOR),
        ({ENVOY: "0"}, None),  # Envoy's word for none
        ({GRPC: "2S", ENVOY: "700"}, 0.7),
    ],
)
def test_what_is_understood(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_for(Headers(headers)) == seconds


@pytest.mark.parametrize(
    "value", ["", "S", "1", "-1S", "1.5S", "1s", "123456789S", "1S, 1S", "\u0661S", "1e3S", " 1S"]
)
def test_what_cannot_be_read_is_ignored(value: str) -> None:
    assert asked_for(Headers({GRPC: value})) is None
    assert asked_for(Headers({ENVOY: value.replace("1", "x")})) is None
