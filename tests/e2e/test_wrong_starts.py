"""What keeps a system from starting: exit code 2, and one clear sentence."""

from pathlib import Path

import pytest

from tests.e2e.running import ROOT, Running, run

EXAMPLE = ROOT / "examples" / "community"


def told(folder: Path, *words: str, data: str = "data", **more: str) -> str:
    """Run `switchgear up`, which must refuse with exit code 2; return what it said."""
    done = run("up", *words, f"--data={data}", cwd=folder, **more)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert not (folder / "data" / "run.json").exists()
    return "\n".join(line for line in done.stderr.splitlines() if "roles stay root" not in line)


def app_at(folder: Path, source: str) -> str:
    (folder / "app.py").write_text(source)
    return str(folder)


ANYWHERE = ("--port=0", "--admin=127.0.0.1:0")


def test_a_port_that_is_taken(tmp_path: Path, community: Running) -> None:
    said = told(tmp_path, str(EXAMPLE), f"--port={community.port}", "--admin=0")
    assert said == (
        f"switchgear: cannot listen on 127.0.0.1:{community.port} (listen.port): another program "
        "has it; choose another port or end that program"
    )


def test_a_data_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = told(tmp_path, str(EXAMPLE), *ANYWHERE, data="file/x")
    assert said == f"switchgear: cannot use the data folder {tmp_path}/file/x: Not a directory"


def test_a_typo_in_the_configuration(tmp_path: Path) -> None:
    app = app_at(tmp_path, "from switchgear import App\n\napp = App('x')\n")
    (tmp_path / "switchgear.toml").write_text("[gatway]\nattempts = 2\n[gateway]\natempts = 2\n")
    said = told(tmp_path, app, *ANYWHERE, SWITCHGEAR_LISTEN__PROT="1").splitlines()
    assert len(said) == 3
    assert "gatway: there is no such setting; did you mean 'gateway'?" in said[0]
    assert "gateway.atempts: there is no such setting; did you mean 'attempts'?" in said[1]
    assert "listen.prot: there is no such setting; did you mean 'port'?" in said[2]
    assert "SWITCHGEAR_LISTEN__PROT" in said[2]


@pytest.mark.parametrize(
    ("source", "roles"),
    [
        (None, "gateway, service, worker, accounts"),
        ("from switchgear import App\n\napp = App('x')\n", "gateway, service, accounts"),
        ("async def app(scope, receive, send): ...\n", "gateway, service"),
    ],
)
def test_a_typo_in_the_name_of_a_role_that_peers_are_of(
    tmp_path: Path, source: str | None, roles: str
) -> None:
    app = [] if source is None else [app_at(tmp_path, source)]
    (tmp_path / "switchgear.toml").write_text('[peers]\nservce = ["tcp:10.0.0.7:81"]\n')
    done = run("check", *app, cwd=tmp_path)
    wrong = f"peers.servce: there is no such role; there are: {roles}"
    where = f"(from {tmp_path}/switchgear.toml)"
    assert (done.returncode, done.stderr) == (2, f"switchgear: configuration: {wrong} {where}\n")
    (tmp_path / "switchgear.toml").write_text('[peers]\nservice = ["tcp:10.0.0.7:81"]\n')
    assert run("check", *app, cwd=tmp_path).returncode == 0


def test_an_app_that_fails_to_import_shows_its_own_frames_only(tmp_path: Path) -> None:
    app = app_at(tmp_path, "from switchgear import App\n\napp = App('x')\nlimit = 1 / 0\n")
    said = told(tmp_path, app, *ANYWHERE)
    assert said.splitlines()[-1] == (
        "switchgear: cannot import the app 'app:app': ZeroDivisionError: division by zero"
    )
    assert said.count("  File ") == 1
    assert f'File "{tmp_path}/app.py", line 4, in <module>' in said


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "@app.get('/x', public=True)\nasync def x(what: object) -> str: ...",
            ("cannot be bound", "x (", "what", "object"),
        ),
        (
            "@app.get('/x/{id}', public=True)\nasync def x() -> str: ...",
            ("cannot be bound", "x (", "id"),
        ),
        (
            "@app.post('/x', public=True)\nasync def x(a, b) -> str: ...",
            ("cannot be bound", "x (", "a"),
        ),
        (
            "@app.consumer('topic')\nasync def take(n: int) -> None: ...",
            ("take", "at_least_once"),
        ),
        ("app.mount('legacy', None)", ("legacy",)),
        (
            "@app.post('/tokens', public=True)\nasync def y() -> str: ...",
            ("POST /tokens", "accounts"),
        ),
    ],
)
def test_a_handler_that_cannot_be_bound(
    tmp_path: Path, source: str, words: tuple[str, ...]
) -> None:
    app = app_at(tmp_path, f"from switchgear import App\n\napp = App('x')\n\n{source}\n")
    said = told(tmp_path, app, *ANYWHERE)
    last = said.splitlines()[-1]
    assert last.startswith("switchgear: ")
    for word in words:
        assert word in last, said
    assert "switchgear/" not in said.replace(str(tmp_path), ""), "none of our own frames"


def test_a_migration_that_fails(tmp_path: Path) -> None:
    app = app_at(tmp_path, "from switchgear import App\n\napp = App('x')\n")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_first.sql").write_text("create tabel x (id int);")
    said = told(tmp_path, app, *ANYWHERE)
    assert "0001_first.sql" in said
    assert 'syntax error at or near "tabel"' in said


def test_a_url_that_is_no_databases_starts_nothing(tmp_path: Path) -> None:
    app = app_at(tmp_path, "from switchgear import App\n\napp = App('x')\n")
    said = told(tmp_path, app, *ANYWHERE, "--set=database.url=mysql://h/x")
    assert said == (
        "switchgear: database.url (set): the PostgreSQL URL is not valid: it must start with "
        "postgresql://"
    )


def test_two_systems_on_one_data_folder(community: Running) -> None:
    done = run("up", str(EXAMPLE), *ANYWHERE, f"--data={community.data}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"switchgear: switchgear is already running as pid {community.process.pid} "
        f"on the data folder {community.data}"
    )
    assert community.ask("GET", "/about").status == 200, "and the first goes on"
