"""The commands and their options; what they do stands in a file each, imported when it runs."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from switchgear.cli.request import Request

__all__ = ["command"]

PLANNER: Final = "switchgear.assembly.build:plan"

# The values are texts: the settings read them, and say of each what would be right.
App = Annotated[
    str,
    typer.Argument(metavar="APP", help="A folder with an app.py, module:attribute, or a file."),
]
Host = Annotated[
    str | None, typer.Option(metavar="HOST", help="Address that clients reach. [127.0.0.1]")
]
Port = Annotated[str | None, typer.Option(metavar="PORT", help="Port that clients reach. [8080]")]
Admin = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where operators reach. [127.0.0.1:9080]")
]
AdminToo = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where operators reach it. [nowhere]")
]
Data = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="Folder for all that lasts. [.switchgear]")
]
Gateways = Annotated[str | None, typer.Option(metavar="COUNT", help="Gateway processes. [2]")]
Services = Annotated[str | None, typer.Option(metavar="COUNT", help="Service processes. [2]")]
Workers = Annotated[str | None, typer.Option(metavar="COUNT", help="Worker processes. [1]")]
Config = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Configuration file, else switchgear.toml beside the app."),
]
Pairs = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Any setting, repeatable.")
]


def command(planner: str = PLANNER) -> typer.Typer:
    """Return the command line; `planner` says what a system consists of."""
    application = typer.Typer(
        name="switchgear",
        help="Backends in which one failure stays one failure.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @application.callback()
    def switchgear(
        version: Annotated[
            bool,
            typer.Option("--version", help="Show the version and exit.", callback=_tell_version),
        ] = False,
    ) -> None: ...

    @application.command()
    def up(
        app: App,
        host: Host = None,
        port: Port = None,
        admin: Admin = None,
        data: Data = None,
        gateways: Gateways = None,
        services: Services = None,
        workers: Workers = None,
        config: Config = None,
        pairs: Pairs = None,
    ) -> None:
        """Run the whole system, every role as a process of its own."""
        from switchgear.cli import up as module

        named = _named(host, port, data) | {
            "--admin": ("admin", admin),
            "--gateways": ("processes.gateways", gateways),
            "--services": ("processes.services", services),
            "--workers": ("processes.workers", workers),
        }
        _run(module.up, app, named, pairs, config, planner)

    @application.command()
    def run(
        role: Annotated[
            str, typer.Argument(metavar="ROLE", help="gateway, service, worker or accounts.")
        ],
        app: App,
        host: Host = None,
        port: Port = None,
        admin: AdminToo = None,
        data: Data = None,
        config: Config = None,
        pairs: Pairs = None,
    ) -> None:
        """Run one role in the foreground, as a container does."""
        from switchgear.cli import run as module

        def work(request: "Request") -> int:
            return module.run(role, request)

        named = _named(host, port, data) | {"--admin": ("admin", admin)}
        _run(work, app, named, pairs, config, planner)

    @application.command()
    def dev(
        app: App,
        host: Host = None,
        port: Port = None,
        admin: Admin = None,
        data: Data = None,
        config: Config = None,
        pairs: Pairs = None,
    ) -> None:
        """Run everything in one process, tracebacks on the terminal; anew when a file changes."""
        from switchgear.cli import dev as module

        named = _named(host, port, data) | {"--admin": ("admin", admin)}
        _run(module.dev, app, named, pairs, config, planner)

    @application.command()
    def check(
        app: Annotated[
            str | None, typer.Argument(metavar="APP", help="An app to check as well.")
        ] = None,
        every: Annotated[
            bool, typer.Option("--all", help="Show every setting, defaults too.")
        ] = False,
        config: Config = None,
        pairs: Pairs = None,
    ) -> None:
        """Check the configuration, and the app if one is given, and start nothing."""
        from switchgear.cli import check as module

        def work(request: "Request") -> int:
            return module.check(request, every=every)

        _run(work, app, {}, pairs, config, planner)

    @application.command()
    def status(
        data: Data = None,
        json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        config: Config = None,
        pairs: Pairs = None,
    ) -> None:
        """Show the processes of the system that runs on a data folder."""
        from switchgear.cli import status as module

        def work(request: "Request") -> int:
            return module.status(request, json=json)

        _run(work, None, _named(None, None, data), pairs, config, planner)

    return application


def _tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"switchgear {version('switchgear')}")
        raise typer.Exit


def _named(
    host: str | None, port: str | None, data: str | None
) -> dict[str, tuple[str, str | None]]:
    return {
        "--host": ("listen.host", host),
        "--port": ("listen.port", port),
        "--data": ("data", data),
    }


def _run(
    work: "Callable[[Request], int]",
    app: str | None,
    named: dict[str, tuple[str, str | None]],
    pairs: list[str] | None,
    config: str | None,
    planner: str,
) -> None:
    from switchgear.cli.request import Request, flags, guarded

    raise typer.Exit(
        guarded(lambda: work(Request(app, flags(named, pairs or []), config, planner)))
    )
