"""The command line: `switchgear up | run | dev | check | status`.

Nothing heavy is imported until a command runs: `switchgear --help` must not load a server.
"""

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    from switchgear.cli.main import command

    command()()
