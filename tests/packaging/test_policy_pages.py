"""The pages on policies say what is so: each default, the order of the protections, the links.

A table of defaults opens with the name of what it tells of: `| ``Settings`` | default | ... |`. Its
rows are all the fields of that, in their order; those of a struct in it are written `window.span`.
"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import isclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

import switchgear
from switchgear.core import observe
from switchgear.core.stack import OUTBOUND, describe
from switchgear.policy.breaker import Transition
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import judge

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "policies"
PAGES = sorted(FOLDER.glob("*.md"))
# What a policy takes, or works with, and what has no public name yet.
MORE = {
    "BalanceSettings": "switchgear.policy.balance",
    "EjectionSettings": "switchgear.policy.ejection",
    "RendezvousSettings": "switchgear.policy.balancers",
    "ShedderSettings": "switchgear.policy.shedder",
}
SETTINGS = {name for name in {**switchgear._HOMES, **MORE} if name.endswith("Settings")}
HEAD = re.compile(r"\| `(\w+)` \| default \|")
LINK = re.compile(r"\]\(([^)#]+)(?:#[\w-]+)?\)")

Rows = list[tuple[str, str]]


def named(name: str) -> Any:
    return getattr(import_module(MORE[name]), name) if name in MORE else getattr(switchgear, name)


def tables(page: Path) -> Iterator[tuple[str, Rows]]:
    """Yield each table of defaults of a page: whose, and its rows."""
    lines = iter(page.read_text().splitlines())
    for line in lines:
        if (found := HEAD.match(line)) is None:
            continue
        next(lines)  # the rule below the head
        rows: Rows = []
        for row in lines:
            if not row.startswith("|"):
                break
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            rows.append((cells[0].strip("`"), cells[1].strip("`")))
        yield found[1], rows


def written(value: object) -> str:
    """Write a default as the pages do."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:,}".replace(",", " ").removesuffix(".0")
    if isinstance(value, msgspec.Struct):
        return f"{type(value).__name__}()"
    return str(getattr(value, "__name__", value))


def defaults(name: str) -> Rows:
    """Return every field or keyword of what is named, with its default as it is written."""
    what = named(name)
    if issubclass(what, msgspec.Struct):
        return list(fields(what))
    found = inspect.signature(what).parameters.values()
    return [(one.name, written(one.default)) for one in found if one.kind is one.KEYWORD_ONLY]


def fields(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, str]]:
    for field in msgspec.structs.fields(struct):
        if isinstance(field.default, msgspec.Struct):
            assert field.default == type(field.default)(), "its own defaults are told in its place"
            yield from fields(type(field.default), f"{prefix}{field.name}.")
        elif callable(field.default):
            raise AssertionError(f"{struct.__name__}.{field.name} has a default that is a function")
        else:
            required = field.default is msgspec.NODEFAULT
            yield prefix + field.name, "required" if required else written(field.default)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_defaults_that_a_page_tells_are_those_of_the_settings(page: Path) -> None:
    for name, rows in tables(page):
        assert rows == defaults(name), f"{page.name} tells otherwise of {name}"


def test_every_setting_is_told_in_one_table() -> None:
    told = [name for page in PAGES for name, _ in tables(page)]
    # A window is told as part of what has one.
    assert sorted(told) == sorted({*SETTINGS, "Policy", "Stale"} - {"WindowSettings"})


def test_a_table_that_tells_another_default_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    lines = [f"| `{name}` | {value} | words |" for name, value in defaults("BudgetSettings")]
    head = ["text", "| `BudgetSettings` | default | what |", "| --- | --- | --- |"]
    page.write_text("\n".join([*head, *lines, "", "text"]))
    assert dict(tables(page)) == {"BudgetSettings": defaults("BudgetSettings")}
    assert ("window.span", "10") in defaults("BudgetSettings")
    for changed in (lines[1:], [*lines, "| `more` | 1 |"], [lines[0].replace("0.2", "0.3")]):
        page.write_text("\n".join([*head, *changed]))
        assert dict(tables(page)) != {"BudgetSettings": defaults("BudgetSettings")}


def test_every_event_is_told_with_its_fields() -> None:
    row = re.compile(r"\| `(\w+)` \| [^|]+ \| ((?:`\w+`(?:, )?)+) \|")
    told = {
        event: tuple(fields.replace("`", "").split(", "))
        for event, fields in row.findall((FOLDER / "observing.md").read_text())
    }
    kinds = [getattr(observe, name) for name in observe.__all__]
    events: list[type[msgspec.Struct]] = [Transition]
    events += [kind for kind in kinds if isclass(kind) and issubclass(kind, msgspec.Struct)]
    assert told == {event.__name__: event.__struct_fields__ for event in events}


def test_every_code_is_told_with_what_it_means() -> None:
    row = re.compile(r"\| `(\w+)` \| [^|]+ \| (\w+) \| (\w+) \|")
    told = {
        code: (health, again)
        for code, health, again in row.findall((FOLDER / "faults.md").read_text())
    }
    verdicts = {code: judge(Fault(code)) for code in Code}
    assert told == {
        code.value: (verdict.health.value, "yes" if verdict.again else "no")
        for code, verdict in verdicts.items()
    }


def test_the_order_is_told_as_it_is() -> None:
    page = (FOLDER / "composing.md").read_text()
    assert f"```text\n{describe(OUTBOUND, 'outbound')}\n```" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_index_leads_to_every_page() -> None:
    linked = set(LINK.findall((FOLDER / "README.md").read_text()))
    assert {page.name for page in PAGES} - linked == {"README.md"}
