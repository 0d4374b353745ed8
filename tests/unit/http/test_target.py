"""Rule 24: a path has one normal form, and what servers read differently is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.http.refusals import reason_of
from switchgear.http.target import normalise
from switchgear.policy.fault import Fault

NORMAL = [
    ("/", ("/", "")),
    ("/a/b", ("/a/b", "")),
    ("/a/b/", ("/a/b/", "")),
    ("//a///b", ("/a/b", "")),
    ("/%61%2D%7e", ("/a-~", "")),
    ("/%e2%82%ac", ("/%E2%82%AC", "")),
    ("/a%3bb", ("/a%3Bb", "")),
    ("/a%20b", ("/a%20b", "")),
    ("/100%25", ("/100%25", "")),
    ("/100%2541", ("/100%2541", "")),  # decoded once, it is a name with a percent sign
    ("/.well-known/jwks.json", ("/.well-known/jwks.json", "")),
    ("/...", ("/...", "")),
    ("/a.b", ("/a.b", "")),
    ("/x[1]|{2}", ("/x%5B1%5D%7C%7B2%7D", "")),
    ("/a?b=%2e%2e/../;&c", ("/a", "b=%2e%2e/../;&c")),
    ("/a?", ("/a", "")),
    ("/a?b?c", ("/a", "b?c")),
    ("/a?b=[1]|2", ("/a", "b=%5B1%5D%7C2")),
]


@pytest.mark.parametrize(("target", "form"), NORMAL)
def test_a_path_is_brought_to_its_normal_form(target: str, form: tuple[str, str]) -> None:
    assert normalise(target) == form


REFUSED = [
    ("/..", "dot-segment"),
    ("/a/../b", "dot-segment"),
    ("/%252e%252e/x", "escape"),  # decoded once, it is a name; somebody decodes twice
    ("/%25%32%65/x", "escape"),
    ("/a/./b", "dot-segment"),
    ("/a/.", "dot-segment"),
    ("/%2e%2e/b", "dot-segment"),
    ("/a/%2E./b", "dot-segment"),
    ("/a/.%2e", "dot-segment"),
    ("//..//x", "dot-segment"),
    ("/a%2fb", "escape"),
    ("/a%5cb", "escape"),
    ("/%00", "escape"),
    ("/a%0d%0ab", "escape"),
    ("/%7f", "escape"),
    ("/%", "escape"),
    ("/%4", "escape"),
    ("/%zz", "escape"),
    ("/%u002e", "escape"),
    ("/%c0%af", "escape"),  # overlong slash
    ("/%c0%ae%c0%ae/", "escape"),  # overlong dots
    ("/%e0%80%af", "escape"),
    ("/%ff", "escape"),
    ("/%ed%a0%80", "escape"),  # a surrogate
    ("/a;b=c", "path-parameter"),
    ("/..;/x", "path-parameter"),
    ("/a\\b", "backslash"),
    ("/a#b", "target"),
    ("/a<b", "target"),
    ('/a"b', "target"),
    ("/a?b#c", "target"),
    ("/a?<", "target"),
]


@pytest.mark.parametrize(("target", "reason"), REFUSED)
def test_what_servers_read_differently_is_refused(target: str, reason: str) -> None:
    with pytest.raises(Fault) as caught:
        normalise(target)
    assert reason_of(caught.value) == reason


@given(st.text(alphabet="/.%2eEfF5cC0aA;\\~-b?|[]", max_size=30))
def test_the_normal_form_is_final(text: str) -> None:
    try:
        path, query = normalise("/" + text)
    except Fault:
        return
    assert normalise(f"{path}?{query}" if query else path) == (path, query)
    assert not {".", ".."} & set(path.split("/"))
    assert "//" not in path
    assert "%2f" not in path.lower()
