"""Finding an app, and importing it without hiding whose fault it is when that fails."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchgear.assembly.app import App
from switchgear.assembly.failures import StartError, ended, user_trace
from switchgear.assembly.target import Target, find_target, load_object, load_target


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    before, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "app.py").write_text("app = 1\nother = 2\n")
    (tmp_path / "hall").mkdir()
    (tmp_path / "hall" / "main.py").write_text("app = 3\n")
    (tmp_path / "package_x").mkdir()
    (tmp_path / "package_x" / "__init__.py").write_text("app = 4\n")
    (tmp_path / "module_x.py").write_text("fastapi_app = 5\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "root", "spec", "value"),
    [
        ("shop", "shop", "app:app", 1),
        ("shop:other", "shop", "app:other", 2),
        ("./shop/", "shop", "app:app", 1),
        ("hall", "hall", "main:app", 3),
        ("package_x", ".", "package_x:app", 4),
        ("module_x:fastapi_app", ".", "module_x:fastapi_app", 5),
        ("./module_x.py:fastapi_app", ".", "module_x:fastapi_app", 5),
    ],
)
def test_an_app_is_a_folder_a_module_or_a_file(
    here: Path, text: str, root: str, spec: str, value: int
) -> None:
    target = find_target(text, here)
    assert (target.folder, target.spec) == ((here / root).resolve(), spec)
    assert load_target(target) == value


def test_links_that_go_round_are_told(here: Path) -> None:
    (here / "round").symlink_to("round")
    with pytest.raises(StartError, match="cannot look for an app at 'round/app'"):
        find_target("round/app", here)


def test_a_file_without_its_ending_is_told_of_it(here: Path) -> None:
    with pytest.raises(StartError, match=r"shop/app does not exist; did you mean shop/app\.py\?"):
        find_target("shop/app:app", here)


def test_a_missing_module_is_told_from_one_that_misses_a_module(here: Path) -> None:
    with pytest.raises(StartError, match=r"no module 'absent_x', and no such folder$") as raised:
        load_target(Target(str(here), "absent_x"))
    assert raised.value.trace == ""
    (here / "needy_x.py").write_text("import absent_x\n")
    with pytest.raises(StartError, match="ModuleNotFoundError: No module named 'abs") as raised:
        load_target(Target(str(here), "needy_x"))
    assert f'File "{here}/needy_x.py", line 1' in raised.value.trace


def test_a_traceback_keeps_the_users_frames_only(here: Path) -> None:
    (here / "broken_x.py").write_text("def f():\n    raise ValueError('two\\nlines')\n\nf()\n")
    sys.path.insert(0, str(here))
    with pytest.raises(StartError) as raised:
        load_object("broken_x:app")
    assert raised.value.sentence == "cannot import the role 'broken_x:app': ValueError: two"
    frames = [line for line in raised.value.trace.splitlines() if "File" in line]
    assert [str(here / "broken_x.py") in frame for frame in frames] == [True, True]


def test_a_syntax_error_shows_its_line(here: Path) -> None:
    (here / "wrong_x.py").write_text("def f(:\n")
    with pytest.raises(StartError) as raised:
        load_target(Target(str(here), "wrong_x"))
    assert "wrong_x.py" in raised.value.trace
    assert "def f(:" in raised.value.trace


def test_a_near_miss_is_suggested(here: Path) -> None:
    with pytest.raises(StartError, match=r"has no 'fastapi'; did you mean 'fastapi_app'\?"):
        load_target(Target(str(here), "module_x", "fastapi"))


def test_an_app_of_another_name_is_suggested_and_not_its_class(here: Path) -> None:
    made = 'from switchgear import App\nmapp = None\nservice = App("shop")\n'
    (here / "named_x.py").write_text(made)
    with pytest.raises(StartError, match=r"has no 'app'; did you mean 'service'\?"):
        load_target(Target(str(here), "named_x"))


@pytest.mark.parametrize(
    ("made", "name"),
    [
        ("from typing import Mapping\nfrom fastapi import FastAPI\nasgi = FastAPI()\n", "asgi"),
        (
            "from starlette.applications import Starlette\napplication = Starlette()\n",
            "application",
        ),
        ("async def map(one): ...\n", "map"),
    ],
)
def test_an_application_is_suggested_before_what_is_only_called_like_it(
    here: Path, made: str, name: str
) -> None:
    (here / "called_x.py").write_text(made)
    with pytest.raises(StartError, match=rf"has no 'app'; did you mean '{name}'\?"):
        load_target(Target(str(here), "called_x"))


def test_a_module_of_a_package_is_told_how_it_is_given(here: Path) -> None:
    (here / "package_x" / "inner").mkdir()
    for name in ("__init__.py", "other.py"):
        (here / "package_x" / "inner" / name).write_text("")
    module = here / "package_x" / "inner" / "main_x.py"
    module.write_text("from .other import app\n")
    with pytest.raises(StartError) as raised:
        load_target(find_target("package_x/inner/main_x.py", here))
    right = f"it is of a package, and is package_x.inner.main_x:app from {here}"
    assert raised.value.sentence.endswith(f"with no known parent package; {right}")
    assert str(module) in raised.value.trace
    module.write_text("import absent_x\n")
    with pytest.raises(StartError, match="No module named 'absent_x'; it is of a package"):
        load_target(find_target("package_x/inner/main_x.py", here))
    module.write_text("raise ValueError\n")
    with pytest.raises(StartError, match=r"ValueError$"):
        load_target(find_target("package_x/inner/main_x.py", here))


MADES = "from switchgear import App\nmake = lambda: App('a')\n"
MADE = "from switchgear import App\napp = App('a')\n"
ROUTE = "@app.get('/lost', public=True)\nasync def show() -> int: ...\n"
CONSUMER = "@app.consumer('a.lost', at_least_once=True)\nasync def take() -> None: ...\n"


@pytest.mark.parametrize(
    ("declared", "named"), [(ROUTE, "GET /lost"), (CONSUMER, "the consumer of a.lost")]
)
def test_an_app_that_its_modules_import_by_another_name_is_refused(
    here: Path, declared: str, named: str
) -> None:
    (here / "shop" / "app.py").write_text(f"{MADE}import shop.routes_x\n")
    (here / "shop" / "routes_x.py").write_text(f"from shop.app import app\n{declared}")
    sys.path.insert(0, str(here))  # as PYTHONPATH or an installed package has it
    with pytest.raises(StartError) as raised:
        load_target(find_target("shop", here))
    assert raised.value.sentence == (
        "the app 'app:app' is imported once more by its own modules, as 'shop.app':"
        f" {named} is declared on that one alone; give it as shop.app:app from {here}"
    )
    app = load_target(find_target("shop.app", here))
    assert isinstance(app, App)
    assert len(app.endpoints) + len(app.subscriptions) == 1


def test_of_two_names_the_longer_one_is_right(here: Path) -> None:
    (here / "shop" / "app.py").write_text(f"{MADE}import shop.routes_x\n")
    (here / "shop" / "routes_x.py").write_text(f"from app import app\n{ROUTE}")
    sys.path[:0] = [str(here), str(here / "shop")]
    with pytest.raises(StartError, match=r"as 'app': GET /lost .* have them import 'shop\.app'$"):
        load_target(find_target("shop.app", here))


@pytest.mark.parametrize("declared", [ROUTE, CONSUMER, "app.mount('/lost', asgi)\n"])
@pytest.mark.parametrize(
    ("main", "other"),
    [
        (f"{MADE}import part_x\n", "{declaring}"),  # as a router of its own
        ("import part_x\nfrom part_x import app as part\n" + MADE, "{declaring}"),
        ("{declaring}app = App('a')\n", ""),  # in its place, under the same name
        ("{declaring}part = app\n" + MADE, ""),
        (f"{MADES}app = make()\n{{declaring}}app = make()\n", ""),  # by one line, twice
    ],
)
def test_an_app_beside_another_on_which_something_is_declared_is_refused(
    here: Path, main: str, other: str, declared: str
) -> None:
    asgi = "async def asgi(scope, receive, send): ...\n"
    whole = (
        declared if "make()" in main else f"from switchgear import App\napp = App('b')\n{declared}"
    )
    main, other = (text.replace("{declaring}", asgi + whole) for text in (main, other))
    (here / "shop" / "app.py").write_text(main)
    (here / "shop" / "part_x.py").write_text(other)
    with pytest.raises(StartError) as raised:
        load_target(find_target("shop", here))
    said = raised.value.sentence
    assert "the app 'app:app' serves what is declared on it" in said
    assert "lost" in said
    assert f"made at {here / 'shop'}" in said


def test_an_app_beside_another_on_which_nothing_is_declared_is_served(here: Path) -> None:
    (here / "shop" / "app.py").write_text(f"from switchgear import App\nApp('b')\n{MADE}{ROUTE}")
    assert len(load_target(find_target("shop", here)).endpoints) == 1


def test_an_app_that_is_imported_twice_and_lacks_nothing_is_served(here: Path) -> None:
    (here / "shop" / "app.py").write_text(f"{MADE}{ROUTE}import shop.helper_x\n")
    (here / "shop" / "helper_x.py").write_text("from shop.app import app\n")
    sys.path.insert(0, str(here))
    sys.modules["odd_x"] = None  # type: ignore[assignment]  # anybody may put anything there
    assert len(load_target(find_target("shop", here)).endpoints) == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit code 0"), (7, "exit code 7"), (-9, "killed by SIGKILL"), (-99, "by signal 99")],
)
def test_an_end_is_told_in_words(code: int, words: str) -> None:
    assert words in ended(code)


def test_a_trace_of_our_own_frames_is_only_the_error() -> None:
    try:
        find_target("no-name", Path.cwd())
    except StartError as error:
        trace = user_trace(error)
    assert "assembly/target.py" not in trace
