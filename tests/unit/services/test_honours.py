"""Which endpoints honour idempotency keys, and what a declaration that cannot be is told."""

import re
from collections.abc import Callable
from typing import Annotated, Any

import pytest

from switchgear import Principal, Response, Transaction
from switchgear.binding.parameters import Unbindable
from switchgear.http.message import StreamResponse
from switchgear.services.endpoint import Endpoint
from switchgear.services.honours import honours_unbound
from switchgear.services.host import Host
from switchgear.services.providers import http_providers


async def takes(who: Principal, tx: Transaction) -> None: ...
async def by_another_name(tx: Annotated[Transaction, "the database"]) -> Response | None: ...
async def takes_none(who: Principal) -> None: ...
async def streams(tx: Transaction) -> StreamResponse | None: ...
async def may_stream(tx: Transaction) -> int | StreamResponse | None: ...
async def unbindable(*args: int) -> None: ...
async def of_a_path(id: int, tx: Transaction) -> None: ...


def heard(endpoint: Endpoint) -> str:
    """Say what a host and a gateway make of it, which is the same."""
    host = Host("service", [endpoint], tables=None, providers=http_providers())
    (operation,) = host.operations
    assert honours_unbound(endpoint) == (operation.idempotency != "off")
    return operation.idempotency


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("function", [takes, by_another_name])
def test_whoever_takes_a_transaction_honours_keys(method: str, function: Any) -> None:
    assert heard(Endpoint(method, "/a", function)) == "optional"
    for said in ("optional", "required", "off"):
        assert heard(Endpoint(method, "/a", function, idempotency=said)) == said


def test_a_path_is_no_hindrance() -> None:
    assert heard(Endpoint("POST", "/a/{id}", of_a_path)) == "optional"


@pytest.mark.parametrize(
    ("method", "function", "public"),
    [("POST", takes_none, False), ("POST", streams, False), ("POST", may_stream, False),
     ("POST", by_another_name, True), ("GET", takes, False), ("PUT", takes, False),
     ("DELETE", takes, False)],
)  # fmt: skip
def test_where_they_cannot_be_heeded_they_are_off(
    method: str, function: Callable[..., Any], public: bool
) -> None:
    assert heard(Endpoint(method, "/a", function, public=public)) == "off"


@pytest.mark.parametrize("said", ["optional", "required"])
@pytest.mark.parametrize(
    ("function", "why"),
    [(takes_none, "takes no Transaction, with which alone an outcome can be recorded"),
     (streams, "streams its answer, and only a whole one can be recorded"),
     (may_stream, "streams its answer")],
)  # fmt: skip
def test_who_asks_for_them_there_is_told_why(
    function: Callable[..., Any], why: str, said: str
) -> None:
    endpoint = Endpoint("POST", "/a", function, idempotency=said)
    words = f"POST /a says idempotency='{said}', and {re.escape(why)}"
    with pytest.raises(Unbindable, match=rf"{function.__name__} \(.*:\d+\): {words}"):
        Host("service", [endpoint], tables=None, providers=http_providers())
    assert not honours_unbound(endpoint)


def test_one_that_cannot_be_bound_is_somebody_elses_to_tell() -> None:
    assert not honours_unbound(Endpoint("POST", "/a", unbindable))
