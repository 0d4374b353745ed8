"""The page `docs/http/rules.md`, written from what really came of each entry.

    python -m tests.rules.page          # from the root of the repository

The tests compare the page with what this writes, so that it cannot go stale.
"""

import re
from itertools import groupby
from pathlib import Path
from typing import Final

from tests.rules.catalogue import CATALOGUE, RULES
from tests.rules.conversation import Seen, observe
from tests.rules.entry import Act, Await, Entry, Pause, Steps

__all__ = ["PAGE", "written"]

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/http/rules.md"

LONGEST: Final = 300  # bytes of one cell, before its middle is left out
_VARYING: Final = re.compile(rb"127\.0\.0\.1:[0-9]{4,5}")

_TOP: Final = """\
# What is refused, and what goes on

The rules of the HTTP edge, clause by clause: bytes that were sent over a socket, and what came of
them. `python -m tests.rules.page` writes this page from the answers that were really received
(`tests/rules/` holds what is sent, and what has to come of it); a test fails where it is no
longer so.

- *Sent*: every byte, in Python's escapes; the middle of what is long is left out.
- *Answer*: the status line; the `reason` of a refusal; then whether the connection was `kept`
  (another request on it was answered), or `closed`, or `reset`.
- *Forwarded*: what the upstream received. What the gateway adds to each request (`x-forwarded-*`,
  `x-request-id`, `traceparent`, `via`, its token, the deadline) is left out, save where the clause
  is about it. A dash: nothing. Entries that are answered by a server alone say so.
"""


def written() -> str:
    """Hold every conversation, and write the page."""
    parts = [_TOP]
    for rule, title in RULES.items():
        entries = [entry for entry in CATALOGUE if entry.rule == rule]
        parts.append(f"\n## {rule}. {title}\n\n")
        told = any(entry.upstream for entry in entries)
        parts.append("| clause | sent |" + (" the upstream says |" if told else "")
                     + " answer | forwarded |\n")  # fmt: skip
        parts.append("| --- | --- |" + (" --- |" if told else "") + " --- | --- |\n")
        for entry in entries:
            seen = observe(entry, gateway=entry.serve is None, loop="asyncio")
            said = [_steps(steps) for steps in entry.upstream]
            cells = [entry.clause, _steps(entry.sent)]
            cells += ["<br>then ".join(said) or "-"] if told else []
            cells += [_answer(entry, seen), _forwarded(entry, seen)]
            parts.append("| " + " | ".join(cells) + " |\n")
    return "".join(parts)


def code(data: bytes) -> str:
    """Write bytes as a code span that a cell of a table can hold."""
    data = _VARYING.sub(b"127.0.0.1:<port>", data)
    if len(data) > LONGEST:
        cut = len(data) - 160
        return f"{code(data[:100])} … {cut} bytes … {code(data[-60:])}"
    text = repr(data)[2:-1]
    if "'" in text and repr(data)[1] == '"':
        text = text.replace("\\'", "'")
    text = text.replace("|", "\\|")
    mark = "``" if "`" in text else "`"
    return f"{mark}{text}{mark}" if mark == "`" else f"{mark} {text} {mark}"


def _steps(steps: Steps) -> str:
    told = []
    for step in (steps,) if isinstance(steps, bytes) else steps:
        if isinstance(step, bytes):
            told.append(code(step))
        elif isinstance(step, Pause):
            told.append(f"*{step.seconds:g} s later*")
        elif isinstance(step, Await):
            told.append(f"*after* {code(step.mark)}")
        elif isinstance(step, Act):
            told.append(f"*{step.name}*")
    return " ".join(told)


def _answer(entry: Entry, seen: Seen) -> str:
    lines: list[str] = []
    for answer in seen.answers:
        line = f"`{answer.line}`" if answer.line else "bytes of a head"
        if answer.reason:
            line += f" `{answer.reason}`"
        lines.append(line + (", cut" if answer.cut else ""))
    told = "<br>".join(_counted(lines)) or "nothing"
    if entry.body is not None:
        told += f"<br>{code(seen.answers[-1].body)}"
    if entry.got is not None:
        told += f"<br>at its end {code(seen.received[-len(entry.got) :])}"
    if entry.has is not None:
        told += f"<br>with {code(entry.has)}"
    if entry.lacks is not None:
        told += f"<br>without {code(entry.lacks)}"
    return f"{told}<br>{seen.end}"


def _counted(lines: list[str]) -> list[str]:
    """Write many answers of one kind as one."""
    runs = [(line, len(list(run))) for line, run in groupby(lines)]
    return [line if count < 4 else f"{count} times {line}" for line, count in runs]


def _forwarded(entry: Entry, seen: Seen) -> str:
    if entry.serve is not None:
        return "(a server alone)"
    told = code(seen.forwarded) if seen.forwarded else "-"
    if entry.dropped:
        told += "<br>its connection is given up"
    if entry.again is not None:
        told += "<br>its connection is " + ("used again" if seen.again else "not used again")
    return told


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(written())
