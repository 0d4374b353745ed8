"""What the pages claim in passing: names of settings and metrics, defaults, links between them.

A row of a table tells defaults where its first cell holds names of settings in backticks, and the
head says of which: `| setting | default |` on the page of the edge, and on that of the client pool
`` | `ClientSettings` | default |``.
"""

import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from switchgear.assembly.settings import Settings
from switchgear.http.settings import ClientSettings, ServerSettings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
_PARTS = "|".join(Settings.__struct_fields__)
NAMED = re.compile(rf"(?:`|--set[= ])((?:{_PARTS})(?:\.[a-z_]+)+)")
METRIC = re.compile(r"`([a-z_]+_total)\b")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([\w-]+))?\)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
# What looks like a setting and is none: tables of the database, a file, extensions of ASGI.
OTHERS = re.compile(
    r"accounts\.(account|family|guess)|admin\.token|http\.(client|disconnect|response\..*)"
)
UNITS = {"s": 1, "KiB": 1 << 10, "MiB": 1 << 20, "KiB/s": 1 << 10}


def here(page: Path) -> str:
    return str(page.relative_to(ROOT))


def known(path: str) -> bool:
    """Say whether a setting has this path; below a mapping and a secret any name is one."""
    found: object = Settings
    for step in path.split("."):
        if not (isinstance(found, type) and issubclass(found, msgspec.Struct)):
            return True
        fields = typing.get_type_hints(found)
        if step not in fields:
            return False
        found = fields[step]
    return True


def slug(title: str) -> str:
    """Return the anchor that a title is given where pages are shown."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    lines = FENCED.sub("", page.read_text()).splitlines()
    return {slug(line.lstrip("#")) for line in lines if line.startswith("#")}


def wrong_links(page: Path) -> Iterator[str]:
    for target, anchor in LINK.findall(FENCED.sub("", page.read_text())):
        there = (page.parent / target) if target else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            yield f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=here)
def test_the_settings_that_a_page_names_are_there(page: Path) -> None:
    named = {path for path in NAMED.findall(page.read_text()) if not OTHERS.fullmatch(path)}
    assert [path for path in sorted(named) if not known(path)] == []


def test_a_setting_that_is_not_there_is_seen() -> None:
    text = "`gateway.attempts`, `gateway.atempts`, --set peers.service=x --set database.url.env=X"
    assert [path for path in NAMED.findall(text) if not known(path)] == ["gateway.atempts"]


@pytest.mark.parametrize("page", PAGES, ids=here)
def test_the_metrics_that_a_page_names_are_there(page: Path) -> None:
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    assert {name for name in METRIC.findall(page.read_text()) if f'"{name}"' not in source} == set()


@pytest.mark.parametrize("page", PAGES, ids=here)
def test_the_links_of_a_page_lead_to_a_page_and_to_a_title_there(page: Path) -> None:
    assert list(wrong_links(page)) == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `title`, and more\n[a](#a-title-and-more) [b](#other) [c](none.md) [d](.)\n"
    )
    assert list(wrong_links(page)) == ["#other", "none.md#"]


def figures(text: str) -> list[float]:
    """Read "2 s, 1 KiB/s" as figures."""
    found = re.findall(r"([\d.]+)(?: (s|KiB/s|KiB|MiB)\b)?", text)
    return [float(number) * UNITS[unit or "s"] for number, unit in found]


def told(page: Path, head: str, owner: type[msgspec.Struct]) -> dict[str, tuple[float, float]]:
    """Return by setting what the tables under a head say, and what is so."""
    found: dict[str, tuple[float, float]] = {}
    within = False
    for line in page.read_text().splitlines():
        within = line.startswith(head) or (within and line.startswith("|"))
        cells = line.split("|")
        if within and (names := re.findall(r"`(\w+)`", cells[1])) and not line.startswith(head):
            so = [float(getattr(owner(), name)) for name in names]
            found |= dict(zip(names, zip(figures(cells[2]), so, strict=True), strict=True))
    return found


@pytest.mark.parametrize(
    ("page", "head", "owner", "least"),
    [
        ("docs/http/limits.md", "| setting | default |", ServerSettings, 9),
        ("docs/http/client.md", "| `ClientSettings` | default |", ClientSettings, 12),
    ],
)
def test_the_defaults_that_a_page_tells_are_so(
    page: str, head: str, owner: type[msgspec.Struct], least: int
) -> None:
    found = told(ROOT / page, head, owner)
    assert len(found) >= least
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}


SHOWN = """
from datetime import date
from uuid import UUID

from msgspec import Struct
from switchgear import App, Code, Fault, IdempotencyKey, Transaction

app = App("todos")
lines_of = None


class NewTodo(Struct):
    text: str


class Todo(Struct):
    id: UUID
    text: str


class TodoDone(Struct):
    id: UUID
"""


def test_what_is_shown_of_an_app_is_one_that_can_be_served(tmp_path: Path) -> None:
    page = (ROOT / "docs/writing.md").read_text()
    blocks = re.findall(r"^```python static\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    declaring = [one for one in blocks if "@app." in one]
    assert len(declaring) >= 5
    (tmp_path / "app.py").write_text("\n\n".join([SHOWN, *declaring]))
    (tmp_path / "switchgear.toml").write_text("")
    command = [sys.executable, "-m", "switchgear", "check", str(tmp_path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "can be imported and bound: 6 routes" in checked.stdout
