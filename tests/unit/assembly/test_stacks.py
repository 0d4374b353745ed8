"""What faulthandler has written: where the loop stands, and whether the end was a fatal one."""

import sysconfig

import pytest

from switchgear.assembly import child
from switchgear.assembly.stacks import fatal, standing

LIBRARY = sysconfig.get_path("stdlib")
PACKAGE = "/venv/lib/python3.12/site-packages/requests/api.py"
OWN = "/srv/app/app.py"
MAIN = [(child.__file__, 60, "main"), ("<frozen runpy>", 88, "_run_code")]


def thread(head: str, *frames: tuple[str, int, str]) -> str:
    lines = [f'  File "{file}", line {line} in {function}' for file, line, function in frames]
    return "\n".join([f"{head} 0x00007f1 (most recent call first):", *lines])


OTHER = thread("Thread", (f"{LIBRARY}/threading.py", 327, "wait"), (OWN, 5, "in_a_thread"))


@pytest.mark.parametrize(
    ("stacks", "where"),
    [
        (thread("Current thread", (OWN, 27, "export"), *MAIN), f"{OWN}:27 in export"),
        (
            thread(
                "Current thread",
                (f"{LIBRARY}/socket.py", 718, "readinto"),
                (PACKAGE, 59, "get"),
                (OWN, 31, "ask"),
                (child.__file__, 80, "_run"),
                *MAIN,
            ),
            f"{OWN}:31 in ask",
        ),
        (  # nothing of the app's: then what is innermost
            thread("Current thread", (PACKAGE, 59, "get"), (child.__file__, 80, "_run"), *MAIN),
            f"{PACKAGE}:59 in get",
        ),
        (f"{OTHER}\n\n{thread('Thread', (OWN, 27, 'export'), *MAIN)}", f"{OWN}:27 in export"),
        (  # too deep for all of it to be written
            f"{OTHER}\n\n{thread('Current thread', (OWN, 9, 'deeper'))}\n  ...",
            f"{OWN}:9 in deeper",
        ),
        (thread("Current thread"), ""),
        ("", ""),
    ],
)
def test_where_the_loop_stands(stacks: str, where: str) -> None:
    assert standing(stacks) == where


def test_only_a_fatal_signal_is_told_of_a_death() -> None:
    asked = thread("Current thread", (OWN, 27, "export"), *MAIN)
    assert fatal(asked) == fatal("") == ""
    died = f"Fatal Python error: Segmentation fault\n\n{asked}"
    assert fatal(died) == died
    assert fatal(f"{asked}\n{died}") == died
