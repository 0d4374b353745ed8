"""The command line: `switchgear up | run | dev | check | status`.

Nothing heavy is imported until a command runs: `switchgear --help` must not load a server.
"""

__all__ = ["main"]


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: what it needs is not installed: the bare package is the policies alone.
    """
    try:
        from switchgear.cli.main import command
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        raise SystemExit("switchgear: this needs pip install 'switchgear[server]'") from None
    command()()
