"""What the configuration names of the app's, and the app has not."""

from typing import Any

import pytest

from switchgear.accounts.settings import AccountsSettings
from switchgear.assembly.named import misnamed
from switchgear.assembly.settings import Settings
from switchgear.gateway.settings import CsrfSettings, GatewaySettings
from switchgear.gateway.table import RouteEntry

ROUTES = (
    RouteEntry("POST", "/sso/{provider}/acs", "service", public=True),
    RouteEntry("GET", "/pages", "service", public=True),
    RouteEntry("POST", "/todos", "service", scope="todo:write"),
    RouteEntry("*", "/legacy", "service", public=True, prefix=True),
)


def told(*exempt: str, scopes: tuple[str, ...] = (), routes: Any = ROUTES) -> list[str]:
    gateway = GatewaySettings(csrf=CsrfSettings(exempt=exempt))
    accounts = AccountsSettings(default_scopes=scopes)
    return list(misnamed(Settings(gateway=gateway, accounts=accounts), routes))


@pytest.mark.parametrize(
    "path",
    ["/sso/{name}/acs", "/sso/google/acs", "/todos", "/{any}", "/legacy", "/legacy/a/b",
     "/legacy/{rest...}", "/sso/{rest...}", "/{rest...}"],
)  # fmt: skip
def test_a_path_that_a_form_may_be_sent_to(path: str) -> None:
    assert told(path) == []


@pytest.mark.parametrize(
    ("path", "near"),
    [("/sso/acs", "; did you mean '/sso/{provider}/acs'?"), ("/todo", "; did you mean '/todos'?"),
     ("/pages", ""), ("/sso/a/acs/b", "; did you mean '/sso/{provider}/acs'?"),
     ("/legac", "; did you mean '/legacy'?"), ("/xyzzy/{rest...}", "")],
)  # fmt: skip
def test_a_path_that_no_form_can_be_sent_to(path: str, near: str) -> None:
    assert told("/todos", path) == [
        f"gateway.csrf.exempt: no route takes what a form sends to {path!r}{near}"
    ]


def test_an_application_at_the_root_takes_any_path() -> None:
    assert told("/a/b", routes=[RouteEntry("*", "/", "service", public=True, prefix=True)]) == []


def test_a_scope_that_looks_like_a_typo() -> None:
    assert told(scopes=("todo:write", "beta")) == []
    (typo,) = told(scopes=("todo:wrte",))
    near = "did you mean 'todo:write'?"
    assert typo == f"accounts.default_scopes: no route asks for the scope 'todo:wrte'; {near}"
