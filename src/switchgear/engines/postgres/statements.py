"""The statements of an SQL file and the lines where they begin, to say which of them failed.

Only messages depend on it: files are executed whole. A body in `BEGIN ATOMIC` is cut at its
semicolons, so the line told there may be one of the body's.
"""

import re
from typing import Final

__all__ = ["statements"]

# What a semicolon means nothing in: strings, quoted names, dollar quotes, comments.
TOKEN: Final = re.compile(
    r"""
    (?P<escaped>\b[eE]'(?:[^'\\]|\\.|'')*')
  | (?P<quoted>'[^']*'|"[^"]*")
  | (?P<dollar>\$(?P<tag>[A-Za-z_]\w*)?\$.*?\$(?P=tag)\$|\$\$.*?\$\$)
  | (?P<line>--[^\n]*)
  | (?P<block>/\*)
  | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)
SPACE: Final = re.compile(r"(?:\s+|--[^\n]*)*")


def statements(sql: str) -> list[tuple[int, str]]:
    """Return each statement with the line on which it begins, counted from 1."""
    found: list[tuple[int, str]] = []
    start = position = 0
    while (token := TOKEN.search(sql, position)) is not None:
        position = _comment_end(sql, token.end()) if token["block"] else token.end()
        if token["end"]:
            _add(found, sql, start, token.start())
            start = position
    _add(found, sql, start, len(sql))
    return found


def _add(found: list[tuple[int, str]], sql: str, start: int, end: int) -> None:
    space = SPACE.match(sql, start, end)
    begin = space.end() if space is not None else start
    text = sql[begin:end].strip()
    if text:
        found.append((sql.count("\n", 0, begin) + 1, text))


def _comment_end(sql: str, position: int) -> int:
    """Return where the block comment ends whose opening precedes `position`: they nest."""
    depth = 1
    for mark in re.compile(r"/\*|\*/").finditer(sql, position):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return len(sql)
