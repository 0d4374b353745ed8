"""The command line with toy roles: `python switchgear_toys.py up APP`."""

from switchgear.cli.main import command

if __name__ == "__main__":
    command("tests.integration.processes.toys:plan")()
