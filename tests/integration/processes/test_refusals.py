"""What must be changed first is told in one sentence, with exit code 2, and nothing is left."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.processes.harness import command, environment, left, switchgear

UP = ("up", "app", "--port=0", "--admin=0", "--data=data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text("async def app(scope, receive, send): ...\n")
    return tmp_path


def refusal(folder: Path, *words: str, **more: str) -> str:
    """Run the command line, which must refuse; return what it said."""
    done = switchgear(*words, cwd=folder, **more)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert left(folder) == []
    assert not (folder / "data" / "run.json").exists()
    return done.stderr


def test_an_app_that_fails_to_import_shows_the_users_own_frames(folder: Path) -> None:
    (folder / "app" / "helper.py").write_text("def boom():\n    return 1 / 0\n")
    (folder / "app" / "app.py").write_text("import helper\n\napp = helper.boom()\n")
    said = refusal(folder, *UP)
    assert (
        "switchgear: cannot import the app 'app:app': ZeroDivisionError: division by zero" in said
    )
    assert f'File "{folder}/app/app.py", line 3, in <module>' in said
    assert f'File "{folder}/app/helper.py", line 2, in boom' in said
    assert "switchgear/assembly" not in said
    assert "importlib" not in said
    assert len(said.splitlines()) < 12


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import nothere", "ModuleNotFoundError: No module named 'nothere'"),
        ("def app(:", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("ap = 1", "the module 'app' has no 'app'; did you mean 'ap'?"),
    ],
)
def test_other_ways_to_fail_an_import(folder: Path, source: str, sentence: str) -> None:
    (folder / "app" / "app.py").write_text(source + "\n")
    assert sentence in refusal(folder, *UP)


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("nowhere/at/all", "there is no app at 'nowhere/at/all'"),
        ("data", "there is no app in the folder 'data': it has neither app.py nor main.py"),
        ("not-a-name", "'not-a-name' names no app: give a folder with an app.py, or module"),
        ("nomodule:app", "there is no module 'nomodule'"),
    ],
)
def test_an_app_that_is_not_there(folder: Path, app: str, sentence: str) -> None:
    (folder / "data").mkdir()
    said = refusal(folder, "up", app, *UP[2:])
    assert sentence in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--set", "listn.port=1"), "configuration: listn: there is no such setting; did you mean"),
        (("--gateways", "two"), "processes.gateways: found the text 'two', where a whole number"),
        (("--port", "99999"), "listen.port: found the text '99999', where a whole number from 0"),
        (("--admin", "127.0.0.1:x"), "admin.port: found the text 'x', where a whole number"),
        (("--set", "nonsense"), "--set nonsense: write it as --set path.to.setting=value"),
        (("--config", "none.toml"), "cannot read none.toml: No such file or directory"),
        (("--host", "no.such.host.invalid"), "cannot listen on no.such.host.invalid:0"),
        (("--host", "192.0.2.1"), "192.0.2.1:0 (listen.host): this machine has no such address"),
    ],
)
def test_a_wrong_flag_is_one_sentence(folder: Path, words: tuple[str, ...], sentence: str) -> None:
    said = refusal(folder, *UP, *words)
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_a_typo_in_the_file_or_the_environment_names_its_source(folder: Path) -> None:
    (folder / "app" / "switchgear.toml").write_text("[listen]\nprot = 80\n")
    said = refusal(folder, *UP, SWITCHGEAR_PROCESSES__GATEWYS="3")
    assert f"listen.prot: there is no such setting; did you mean 'port'? (from {folder}/app" in said
    assert "did you mean 'gateways'? (from SWITCHGEAR_PROCESSES__GATEWYS)" in said


def test_a_data_folder_that_cannot_be_one(folder: Path) -> None:
    (folder / "file").write_text("")
    for data in ("file/data", "file"):
        said = refusal(folder, *UP, f"--data={data}")
        assert said == f"switchgear: cannot use the data folder {folder}/{data}: Not a directory\n"


def test_a_data_folder_that_cannot_be_written(folder: Path) -> None:
    if os.geteuid() == 0:  # whom no mode keeps out
        target, why = "/sys/switchgear", "Operation not permitted"
    else:
        target, why = f"{folder}/closed/data", "Permission denied"
        (folder / "closed").mkdir(mode=0o500)
    said = refusal(folder, *UP, f"--data={target}")
    assert said == f"switchgear: cannot use the data folder {target}: {why}\n"


def test_a_role_that_finds_something_missing_ends_the_start(folder: Path) -> None:
    said = refusal(folder, *UP, TOY_EXTRA="picky")
    assert said == "switchgear: the toy wants another table\n"


def test_an_auxiliary_that_does_not_start_ends_the_start(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "aux-fails").touch()
    assert refusal(folder, *UP) == "switchgear: the toybase has no room\n"


def test_a_role_that_is_not_there_and_one_that_needs_more(folder: Path) -> None:
    said = refusal(folder, "run", "gatway", "app", "--port=0")
    assert "there is no role 'gatway'; there are: gateway, service, worker" in said
    said = refusal(folder, "run", "service", "app", "--port=0")
    assert "needs toybase, which only `switchgear up` starts" in said


def test_peers_of_a_role_that_is_not_there(folder: Path) -> None:
    said = refusal(folder, "run", "gateway", "app", "--port=0", "--set=peers.services=tcp:a:1")
    assert "peers.services: there is no such role; there are: gateway, service, worker" in said


def test_check_tells_what_is_set_and_what_is_wrong(folder: Path) -> None:
    (folder / "app" / "switchgear.toml").write_text("[processes]\ngateways = 3\n")
    good = switchgear("check", "app", "--set=http.connect_method=yes", cwd=folder)
    assert good.returncode == 0, good.stderr
    assert "processes.gateways = 3" in good.stdout
    assert f"# {folder}/app/switchgear.toml" in good.stdout
    assert "http.connect_method = True" in good.stdout
    assert "# --set http.connect_method" in good.stdout
    assert "app:app can be imported" in good.stdout
    said = refusal(folder, "check", "app", "--set=supervisor.hung=1")
    assert "supervisor: hung (1 s) must be longer than unroutable (3 s)" in said
    (folder / "app" / "app.py").write_text("import nothere\n")
    assert "No module named 'nothere'" in refusal(folder, "check", "app")


def test_check_tells_of_names_that_the_app_has_not(folder: Path) -> None:
    (folder / "app" / "app.py").write_text(
        "from switchgear import App\napp = App('toy')\n"
        "@app.post('/sso/acs', public=True)\nasync def signed_in() -> None: ...\n"
    )
    named = "--set=gateway.csrf.exempt=/sso/acs,/sso/axs"
    found = switchgear("check", "app", named, "--set=processes.services=0", cwd=folder)
    assert found.returncode == 0, "it can be served"
    doubts = [line for line in found.stdout.splitlines() if line.startswith("! ")]
    assert doubts.pop(0).startswith("! processes.services: there is none, nor are there any at")
    said = "no route takes what a form sends to '/sso/axs'; did you mean '/sso/acs'?"
    assert doubts == [f"! gateway.csrf.exempt: {said}"]


def test_check_refuses_the_migrations_that_a_start_would(folder: Path) -> None:
    (folder / "app" / "migrations").mkdir()
    (folder / "app" / "migrations" / "0002_todos.sql").write_text("select 1")
    assert switchgear("check", "app", cwd=folder).returncode == 0, "it is no App: they are not ours"
    (folder / "app" / "app.py").write_text("from switchgear import App\napp = App('toy')\n")
    said = refusal(folder, "check", "app")
    assert "migrations: migration 0001 is missing, 0002 is there" in said
    (folder / "app" / "migrations" / "0001_todos.sql").write_text("select 1")
    assert switchgear("check", "app", cwd=folder).returncode == 0


def test_check_doubts_a_deadline_that_no_attempt_at_a_bare_application_gets(folder: Path) -> None:
    (folder / "app" / "app.py").write_text("async def app(scope, receive, send): ...\n")
    long = ("check", "app", "--set=http.deadline=30")
    doubted = switchgear(*long, cwd=folder).stdout
    assert "! http.deadline = 30 s is for 3 attempts: a GET, PUT or DELETE that takes" in doubted
    for said in ((*long, "--set=gateway.attempt_timeout=30"), ("check", "app")):
        assert "!" not in switchgear(*said, cwd=folder).stdout
    (folder / "app" / "app.py").write_text(
        "from switchgear import App\napp = App('toy')\n"
        "@app.get('/a', public=True)\nasync def show() -> int: ...\n"
    )
    assert "!" not in switchgear(*long, cwd=folder).stdout, "its routes may say so themselves"


def test_check_tells_how_much_an_app_declares(folder: Path) -> None:
    """Routes of a module that nobody imports, and a folder of another name, are not there."""
    made = "from switchgear import App\napp = App('toy')\n"
    (folder / "app" / "app.py").write_text(made)
    (folder / "app" / "migration").mkdir()
    (folder / "app" / "migration" / "0001_todos.sql").write_text("select 1")
    none = switchgear("check", "app", cwd=folder)
    assert none.stdout.startswith("! the app declares nothing: it has to import the modules that")
    assert none.stdout.endswith(", and app:app can be imported and bound: 0 routes, 0 migrations\n")
    (folder / "app" / "migration").rename(folder / "app" / "migrations")
    route = "@app.get('/a', public=True)\nasync def show() -> int: ...\n"
    (folder / "app" / "app.py").write_text(made + route)
    one = switchgear("check", "app", cwd=folder)
    assert one.stdout.startswith("the configuration is good")
    assert one.stdout.endswith(": 1 route, 1 migration\n")
    consumer = "@app.consumer('a', at_least_once=True)\nasync def take() -> None: ...\n"
    (folder / "app" / "app.py").write_text(made + consumer)
    assert "declares nothing" not in switchgear("check", "app", cwd=folder).stdout


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "it must start with postgresql://"),
        ("mysql://h/x", "it must start with postgresql://"),
        ("postgresql://u:hidden@[h/x", "it is no URL"),
        ("postgresql://h/x?pool=3", "'pool' is not heeded here"),
        ("postgresql://h:port/x", "its port is not a number up to 65535"),
        ("postgresql://h/x?sslrootcert=/no", "its sslrootcert, '/no', cannot be read: No such"),
        ("postgresql://u:hidden@h/x?sslkey=/", "its sslkey, '/', cannot be read: Is a directory"),
    ],
)
def test_check_reads_the_url_of_the_database(folder: Path, url: str, why: str) -> None:
    said = refusal(folder, "check", "app", "--set=database.url.env=URL", URL=url)
    assert said.startswith(
        f"switchgear: database.url (env URL): the PostgreSQL URL is not valid: {why}"
    )
    assert "hidden" not in said


def test_a_migration_of_another_case_is_not_passed_over(folder: Path) -> None:
    (folder / "app" / "app.py").write_text("from switchgear import App\napp = App('toy')\n")
    (folder / "app" / "migrations").mkdir()
    (folder / "app" / "migrations" / "0001_todos.SQL").write_text("select 1")
    assert "0001_todos.SQL: a migration is named like" in refusal(folder, "check", "app")


def test_migrations_that_cannot_be_read(folder: Path) -> None:
    (folder / "app" / "app.py").write_text("from switchgear import App\napp = App('toy')\n")
    (folder / "app" / "migrations" / "0001_a.sql").mkdir(parents=True)
    said = refusal(folder, "check", "app")
    assert said == (
        "switchgear: the database would not be ready: cannot read "
        f"{folder}/app/migrations/0001_a.sql: Is a directory\n"
    )


def test_a_working_directory_that_is_gone(folder: Path) -> None:
    (folder / "gone").mkdir()
    for words in (("status",), ("check", "app")):
        done = subprocess.run(
            ["/bin/sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *command(*words)],
            cwd=folder / "gone",
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        (folder / "gone").mkdir()
        said = "switchgear: cannot tell the working directory: No such file or directory\n"
        assert (done.returncode, done.stderr) == (2, said)


def test_a_home_that_is_not_there(folder: Path) -> None:
    said = refusal(folder, "status", "--data=~no.such.account/x")
    assert "configuration: data: there is no home folder for '~no.such.account/x'" in said
    assert "(from --data)" in said


@pytest.mark.parametrize(
    "words", [("up", "\udce4pp", "--data=data"), ("up", "app", "--data=\udce4")]
)
def test_a_path_that_is_no_text(folder: Path, words: tuple[str, ...]) -> None:
    (folder / "\udce4pp").mkdir()
    (folder / "\udce4pp" / "app.py").write_text("async def app(scope, receive, send): ...\n")
    said = refusal(folder, *words, "--port=0", "--admin=0")
    assert "\\udce4" in said
    assert said.endswith(
        "is not in UTF-8: rename it, or choose a locale of UTF-8 (LC_ALL=C.UTF-8)\n"
    )
    assert len(said.splitlines()) == 1


def test_a_host_that_is_none(folder: Path) -> None:
    said = refusal(folder, *UP, "--host=no such host")
    assert said.startswith("switchgear: cannot listen on no such host:0 (listen.host): ")
    assert "Errno" not in said


def test_status_where_nothing_runs(folder: Path) -> None:
    told = switchgear("status", "--data=data", cwd=folder)
    assert (told.returncode, told.stderr) == (
        3,
        f"switchgear: nothing runs on the data folder {folder}/data\n",
    )
