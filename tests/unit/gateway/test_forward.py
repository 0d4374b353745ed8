"""What crosses the gateway: nobody's claims about who they are, and nothing of ours."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.gateway.forward import inwards, named_by, outwards, plain_id, trace_of
from switchgear.http.headers import Headers
from switchgear.http.message import Request
from switchgear.policy.call import Trace

TRACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CLAIMS = (
    "switchgear-token", "Switchgear-Deadline-Ms", "switchgear_token", "switchgear", "X-User-Id",
    "x_user_id", "X-Forwarded-For", "x-forwarded_proto", "X_Forwarded_Host", "Forwarded",
    "X-Real-IP", "X-Original-URL", "X-Rewrite-URL", "X-Remote-User", "X-Client-Cert",
    "True-Client-IP", "CF-Connecting-IP", "Connection", "Upgrade", "TE", "Trailer", "Keep-Alive",
    "Transfer-Encoding", "Transfer_Encoding", "Content-Length", "Content_Length",
    "Proxy-Authorization", "Proxy-Connection", "HTTP2-Settings", "X_Request_Id",
)  # fmt: skip


def into(headers: Headers, **fields: Any) -> dict[str, list[str]]:
    """Send headers in; return what a service sees, by name."""
    request = Request("GET", "/a", headers=headers, peer="192.0.2.1", **fields)
    seen: dict[str, list[str]] = {}
    for name, value in inwards(request, "an-id-of-ours", trace_of(headers.get("traceparent"))):
        seen.setdefault(name, []).append(value)
    return seen


@given(
    st.lists(st.tuples(st.sampled_from(CLAIMS), st.sampled_from(["admin", "1.2.3.4", "https"]))),
    st.sampled_from(["", "close", "x-forwarded-for, x-request-id", "cookie, host, authorization"]),
)
def test_no_claim_of_a_client_gets_in(claims: list[tuple[str, str]], connection: str) -> None:
    fields = [("host", "shop.example"), ("cookie", "a=1"), *claims]
    if connection:
        fields.append(("connection", connection))
    seen = into(Headers(fields), scheme="https")
    assert seen.pop("host") == ["shop.example"]
    assert seen.pop("cookie") == ["a=1"]
    assert len(seen.pop("traceparent")) == 1
    assert seen == {
        "x-forwarded-for": ["192.0.2.1"],
        "x-forwarded-host": ["shop.example"],
        "x-forwarded-proto": ["https"],
        "x-request-id": ["an-id-of-ours"],
        "via": ["1.1 switchgear"],
    }


def test_what_is_the_clients_own_gets_in() -> None:
    own = {"host": "a", "authorization": "Bearer x", "accept": "*/*", "x-custom": "1", "range": "r"}
    seen = into(Headers(own))
    assert {name: seen[name] for name in own} == {name: [value] for name, value in own.items()}


def test_a_field_that_connection_names_stays_at_its_hop() -> None:
    assert "x-hop" not in into(Headers({"host": "a", "connection": "x-hop", "x-hop": "1"}))


def test_a_trace_is_continued_by_a_span_of_our_own() -> None:
    trace = trace_of(PARENT)
    assert (trace.trace_id, trace.sampled) == (TRACE.trace_id, True)
    assert trace.span_id != TRACE.span_id
    assert trace_of(PARENT[:-2] + "00").sampled is False
    assert trace_of(f"cc{PARENT[2:]}-what-comes-after").trace_id == TRACE.trace_id


@pytest.mark.parametrize(
    "parent",
    [
        None,
        "",
        PARENT[:-1],
        PARENT + "-more",
        f"ff{PARENT[2:]}",
        PARENT.upper(),
        PARENT.replace("-", "_"),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE.trace_id}-{'0' * 16}-01",
        f"cc{PARENT[2:]}more",
        PARENT.replace("4bf9", "4bg9"),
        PARENT[:53] + "\xe9\xe9",
        "x" * 4096,
    ],
)
def test_a_malformed_trace_is_not_continued(parent: str | None) -> None:
    trace = trace_of(parent)
    assert trace.trace_id != TRACE.trace_id
    assert len(trace.trace_id) == 32
    assert len(trace.span_id) == 16
    assert trace.sampled


def test_vendors_notes_go_with_their_trace_only() -> None:
    notes = {"host": "a", "tracestate": "vendor=1"}
    assert into(Headers({**notes, "traceparent": PARENT}))["tracestate"] == ["vendor=1"]
    assert "tracestate" not in into(Headers({**notes, "traceparent": "rubbish"}))
    assert "tracestate" not in into(Headers(notes))


@pytest.mark.parametrize("given_id", ["0af76519-16cd-43dd-8448-eb211c80319c", "ABCDEF12", "1" * 64])
def test_a_plain_request_id_is_kept(given_id: str) -> None:
    assert plain_id(given_id)


@pytest.mark.parametrize(
    "given_id",
    [
        None,
        "",
        "short",
        "1" * 65,
        "--------",
        "a b c d e",
        "\u0661" * 10,
        "abc\x00defgh",
        "a;b;c;d;e",
    ],
)
def test_any_other_request_id_is_replaced(given_id: str | None) -> None:
    assert not plain_id(given_id)


def test_a_request_without_one_is_named_by_its_span() -> None:
    assert named_by(TRACE) == f"{TRACE.trace_id[:16]}{TRACE.span_id}"


def out(headers: dict[str, str], *, secure: bool = False) -> Headers:
    return outwards(Headers(headers), [("x-request-id", "ours")], secure=secure)


def test_nothing_of_ours_and_nothing_revealing_gets_out() -> None:
    told = {"server": "x", "x-powered-by": "x", "switchgear-fault": "{}", "Switchgear_Note": "x",
            "switchgear": "x", "x-request-id": "theirs", "set-cookie": "a=1",
            "x-own": "1"}  # fmt: skip
    sent = out(told)
    assert not [name for name, _ in sent if name.startswith("switchgear")]
    assert not {"server", "x-powered-by"} & {name for name, _ in sent}
    assert sent.all("x-request-id") == ["ours"]
    assert (sent["set-cookie"], sent["x-own"]) == ("a=1", "1")


def test_protective_headers_are_added_where_they_are_missing() -> None:
    sent = out({"x-frame-options": "SAMEORIGIN"})
    assert sent.all("x-frame-options") == ["SAMEORIGIN"]
    assert sent["x-content-type-options"] == "nosniff"
    assert sent["content-security-policy"].startswith("default-src 'none'")
    page = out({"content-type": "text/html; charset=utf-8"})
    assert page["content-security-policy"].startswith("frame-ancestors 'none'")
    own = out({"content-security-policy": "default-src 'self'"})
    assert own.all("content-security-policy") == ["default-src 'self'"]


@pytest.mark.parametrize(
    "kind",
    [
        "text/html",
        "Text/HTML ; charset=utf-8",
        "application/xhtml+xml",
        "text/javascript; charset=utf-8",
        "application/javascript",
    ],
)
def test_what_browsers_run_may_load_and_says_where_its_forms_come_from(kind: str) -> None:
    """A worker could fetch nothing, and each form was posted with `Origin: null`."""
    sent = out({"content-type": kind})
    assert "default-src" not in sent["content-security-policy"]
    assert "frame-ancestors 'none'" in sent["content-security-policy"]
    assert sent["referrer-policy"] == "strict-origin-when-cross-origin"


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/htmlx", "image/png"])
def test_what_they_do_not_run_may_load_nothing(kind: str) -> None:
    sent = out({"content-type": kind})
    assert sent["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert sent["referrer-policy"] == "no-referrer"


def test_a_drawing_has_its_own_styles_and_runs_nothing() -> None:
    policy = out({"content-type": "image/svg+xml"})["content-security-policy"]
    assert policy.split("; ") == [
        "default-src 'none'", "style-src 'unsafe-inline'", "frame-ancestors 'none'"
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
@pytest.mark.parametrize(
    ("said", "who"), [("SAMEORIGIN", "'self'"), ("sameorigin ", "'self'"), ("DENY", "'none'")]
)
def test_who_may_frame_it_is_what_the_application_says(kind: str, said: str, who: str) -> None:
    """`frame-ancestors` outweighs X-Frame-Options, so that ours took back what it allowed."""
    sent = out({"content-type": kind, "x-frame-options": said})
    assert f"frame-ancestors {who}" in sent["content-security-policy"]


def test_transport_security_is_promised_over_tls_only() -> None:
    assert "strict-transport-security" not in out({})
    assert "strict-transport-security" in out({}, secure=True)
    assert out({"strict-transport-security": "max-age=1"}, secure=True).all(
        "strict-transport-security"
    ) == ["max-age=1"]
