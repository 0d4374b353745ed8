"""`switchgear status`: ask the running supervisor."""

import asyncio
import sys
from pathlib import Path
from typing import Final

import msgspec

from switchgear.assembly.control import ControlError, ask
from switchgear.assembly.runtime import read_record
from switchgear.assembly.status import Status
from switchgear.cli.request import Request, complain, configured

__all__ = ["ABSENT", "status"]

ABSENT: Final = 3  # nothing runs: the code that init scripts have for it


def status(request: Request, *, json: bool) -> int:
    """Print the processes of the system on a data folder; return 3 when none runs.

    Raises:
        StartError: the data folder belongs to another account.
        SettingsError: something in the configuration is wrong.
    """
    data = Path(configured(request, None).settings.data)
    record = read_record(data)
    if record is None:
        complain(f"nothing runs on the data folder {data}")
        return ABSENT
    try:
        found = asyncio.run(ask(record.socket, "status"))
    except ControlError as error:
        complain(f"nothing answers on the data folder {data} (pid {record.pid}): {error}")
        return ABSENT
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
        return 0
    from rich.console import Console

    from switchgear.console.live import table

    Console(highlight=False).print(table(msgspec.convert(found, Status)))
    return 0
