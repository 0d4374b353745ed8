"""The pages that teach by example: each example runs, in the order in which it is read.

The blocks that open with ```python run top to bottom in one namespace per page; `await` may stand
at their top level and takes virtual time. Then the page's own `test_` functions run. A block that
opens with ```python static is only compiled: it shows what needs a server. Policies made in a
page tell virtual time without being told to, and draw the same random numbers each time.
"""

import ast
import asyncio
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import CO_COROUTINE, isclass, iscoroutinefunction
from pathlib import Path
from textwrap import indent
from types import CodeType, ModuleType
from typing import Any
from unittest import mock

import pytest

import switchgear
from switchgear.assembly.load import file_layer, load
from switchgear.assembly.settings import Settings
from switchgear.core.clock import FINE
from switchgear.testing import virtual

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/policies/*.md")),
    ROOT / "docs/testing.md",
    ROOT / "docs/writing.md",
    ROOT / "docs/http/asgi.md",
    ROOT / "docs/http/client.md",
]
CONFIGURED = [ROOT / "docs/running.md", ROOT / "docs/writing.md", ROOT / "docs/http/browsers.md"]
FENCE = "```"


def blocks(page: Path) -> Iterator[tuple[CodeType, bool]]:
    """Compile the python blocks of a page; tell of each whether it runs.

    A traceback points into the page: the source is moved down to the line where it stands.
    """
    kind, start, taken = "", 0, list[str]()
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not kind and line.startswith(FENCE):
            kind, start, taken = line.removeprefix(FENCE).strip() or "text", number, []
        elif kind and line.rstrip() == FENCE:
            if kind in ("python", "python static"):
                source = "\n" * start + "\n".join(taken)
                flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                yield compile(source, str(page), "exec", flags), kind == "python"
            kind = ""
        elif kind:
            taken.append(line)
    if kind:
        raise SyntaxError(f"{page}:{start}: this block has no end")


@contextmanager
def as_default(clock: Callable[[], float]) -> Iterator[None]:
    """Make a clock the default of every public class that takes one."""
    told: list[tuple[dict[str, Any], Any]] = []
    for name in switchgear._HOMES:
        found = getattr(switchgear, name)
        defaults = getattr(found.__init__, "__kwdefaults__", None) if isclass(found) else None
        if defaults and defaults.get("clock", "none taken") in (FINE, None):
            told.append((defaults, defaults["clock"]))
            defaults["clock"] = clock
    try:
        yield
    finally:
        for defaults, before in told:
            defaults["clock"] = before


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def read(page: Path) -> None:
    """Run a page from top to bottom, and then its tests."""
    module = ModuleType(f"page_{page.stem.replace('-', '_')}")
    names = vars(module)
    with asyncio.Runner(loop_factory=virtual.VirtualLoop) as runner:
        loop = runner.get_loop()

        def clock() -> float:
            """Tell the time of whichever virtual loop runs, else of the page's own."""
            try:
                return virtual.clock()
            except RuntimeError:
                return loop.time()

        with seeded(0), as_default(clock), mock.patch.dict(sys.modules, {module.__name__: module}):
            for code, runs in blocks(page):
                if not runs:
                    continue
                awaited = eval(code, names)
                if code.co_flags & CO_COROUTINE:
                    runner.run(awaited)
            for test in [found for name, found in names.items() if name.startswith("test_")]:
                virtual.run(test()) if iscoroutinefunction(test) else test()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(page: Path) -> None:
    read(page)


@pytest.mark.parametrize("page", CONFIGURED, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_configuration_of_a_page_can_be_read(page: Path, tmp_path: Path) -> None:
    shown = re.findall(rf"^{FENCE}toml\n(.*?)^{FENCE}", page.read_text(), re.DOTALL | re.MULTILINE)
    assert shown
    for text in shown:
        path = tmp_path / "switchgear.toml"
        path.write_text(text)
        assert load(Settings, [file_layer(path)]).sources


# Whoever calls `asyncio.run`, or `run`, is whole as it stands, and in a loop of its own.
IN_A_FUNCTION = [
    page
    for page in sorted(ROOT.glob("docs/policies/*.md"))
    if not re.search(r"\brun\(main\(\)\)|asyncio\.run\(", page.read_text())
]


@pytest.mark.parametrize("page", IN_A_FUNCTION, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run_in_a_function_as_readers_are_told_to(page: Path) -> None:
    shown = re.findall(
        rf"^{FENCE}python\n(.*?)^{FENCE}", page.read_text(), re.DOTALL | re.MULTILINE
    )
    names: dict[str, Any] = {"__name__": "page"}
    exec("async def page():\n" + indent("\n".join(shown), "    "), names)
    with seeded(0):
        virtual.run(names["page"]())


def block(page: str, words: str) -> str:
    """Return the one example of a page that has these words in it."""
    text = (ROOT / page).read_text()
    found = re.findall(rf"^{FENCE}python\n(.*?)^{FENCE}", text, re.DOTALL | re.MULTILINE)
    (one,) = [source for source in found if words in source]
    return str(one)


def test_an_example_that_is_said_to_be_whole_runs_by_itself() -> None:
    exec(block("docs/policies/README.md", "run(main())"), {})


def test_the_hook_of_the_page_runs_async_tests_in_virtual_time(tmp_path: Path) -> None:
    hook = block("docs/testing.md", "def pytest_pyfunc_call")
    (tmp_path / "conftest.py").write_text(hook)
    (tmp_path / "test_hour.py").write_text(
        "import asyncio, pytest\n"
        "from switchgear.testing import clock\n"
        "@pytest.fixture\n"
        "def hours(): return 1\n"
        "@pytest.mark.parametrize('more', [1, 2])\n"
        "async def test_hours(hours, more):\n"
        "    began = clock()\n"
        "    await asyncio.sleep(3600 * (hours + more))\n"
        "    assert clock() - began == 3600 * (hours + more)\n"
        "async def test_wrong(): assert not await asyncio.sleep(3600, 1)\n"
        "def test_plain(hours): assert hours == 1\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "1 failed, 3 passed" in ran.stdout, ran.stdout + ran.stderr


def written(folder: Path, *lines: str) -> Path:
    page = folder / "page.md"
    page.write_text("\n".join(lines))
    return page


def test_a_page_runs_from_top_to_bottom_in_virtual_time(tmp_path: Path) -> None:
    page = written(
        tmp_path,
        "```python",
        "import asyncio",
        "from switchgear import Fault, Policy",
        "mail, ran = Policy('mail', deadline=3600.0), []",
        "```",
        "```text",
        "this is no code",
        "```",
        "```python",
        "began = asyncio.get_running_loop().time()",
        "try:",
        "    await mail.call(asyncio.sleep, 4000)",
        "except Fault:",
        "    ran.append(round(await asyncio.sleep(0, asyncio.get_running_loop().time()) - began))",
        "```",
        "```python static",
        "raise SystemExit",
        "```",
        "```python",
        "assert ran == [3600]",
        "def test_it() -> None: ran.append(1)",
        "async def test_this_too() -> None: ran.append(await asyncio.sleep(1, 2))",
        "async def test_last() -> None: assert ran == [3600, 1, 2]",
        "```",
    )
    read(page)


@pytest.mark.parametrize("line", ["assert not 1", "def test_it(): assert not 1"])
def test_an_example_that_fails_is_told_by_the_line_of_the_page(tmp_path: Path, line: str) -> None:
    page = written(tmp_path, "# A page", "", "```python", "import asyncio", line, "```")
    with pytest.raises(AssertionError) as caught:
        read(page)
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 5)


@pytest.mark.parametrize("fence", ["```python", "```python static"])
def test_what_is_no_python_is_refused_even_where_it_does_not_run(
    tmp_path: Path, fence: str
) -> None:
    with pytest.raises(SyntaxError):
        read(written(tmp_path, fence, "await = 1", "```"))


def test_a_block_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError, match=r"page\.md:2: this block has no end"):
        read(written(tmp_path, "", "```python", "1"))


def test_a_page_leaves_the_defaults_as_they_were(tmp_path: Path) -> None:
    before = random.getstate(), dict(switchgear.Policy.__init__.__kwdefaults__ or {})
    read(written(tmp_path, "```python", "import random", "random.random()", "```"))
    assert (random.getstate(), switchgear.Policy.__init__.__kwdefaults__) == before
