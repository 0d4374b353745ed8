"""Targets: one normal form of a path, routed, authorised and forwarded alike (rule 24).

Two readers of one path must not differ, so what some server decodes twice, strips or resolves is
refused, and the rest is written in one way. Source: RFC 3986 section 6.2.2.
"""

import re
from typing import Final

from switchgear.http.refusals import refuse

__all__ = ["normalise"]

# What needs no work: no escape, no dot segment, no empty segment, nothing odd.
_CLEAN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~!$&'()*+,=:@/-"
# Leaves what is clean, and nothing else, as it is: two thirds of what to match it costs.
_SAME: Final = bytes(code if code in _CLEAN else 0 if code else 1 for code in range(256))
_CLEAN_QUERY: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*+").fullmatch
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What would be a dot, a separator or a control character to whoever decodes once more than we do.
_TWICE: Final = re.compile(r"%(?:25)+(?:2[ef]|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
_SLASHES: Final = re.compile(r"//+")
_DOTS: Final = re.compile(r"(?:^|/)\.{1,2}(?=/|$)")

_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_FORBIDDEN: Final = re.compile(r'["#<>\x00-\x20\x7f-\xff]')
_ODD: Final = re.compile(r"[\\^`{|}\[\]]")


def normalise(target: str) -> tuple[str, str]:
    """Split an origin-form target into its normal path and its query.

    Escapes of unreserved characters are decoded, others written in upper case; empty
    segments are merged. Refused: dot segments in any spelling, escaped slashes and control
    characters (escaped twice, too), path parameters (`;`), backslashes, broken escapes, invalid or
    overlong UTF-8.
    """
    query = ""
    path = target
    if "?" in target:
        path, _, query = target.partition("?")
        if _CLEAN_QUERY(query) is None:
            query = _quote(query)
    octets = path.encode("latin-1")
    if octets.translate(_SAME) != octets or "//" in path or "/." in path:
        path = _rewrite(path)
    return path, query


def _rewrite(path: str) -> str:
    if _FORBIDDEN.search(path):
        raise refuse("target", f"the path {path[:60]!r} has characters that must be escaped")
    if "\\" in path:
        raise refuse("backslash", f"the path {path[:60]!r} has a backslash")
    if ";" in path:
        raise refuse("path-parameter", f"the path {path[:60]!r} has a parameter")
    if "%" in path:
        if _BROKEN_ESCAPE.search(path):
            raise refuse("escape", f"the path {path[:60]!r} has a broken escape")
        _check_utf8(path)
        path = _ESCAPE.sub(_unescape, path)
        if _TWICE.search(path):
            raise refuse("escape", f"the path {path[:60]!r} has an escape within an escape")
    path = _SLASHES.sub("/", _quote(path))
    if _DOTS.search(path):
        raise refuse("dot-segment", f"the path {path[:60]!r} has a dot segment")
    return path


def _unescape(escape: re.Match[str]) -> str:
    code = int(escape[1], 16)
    if code < 0x20 or code in (0x2F, 0x5C, 0x7F):
        raise refuse("escape", f"%{code:02X} is not accepted in a path")
    char = chr(code)
    return char if char in _UNRESERVED else f"%{code:02X}"


def _check_utf8(path: str) -> None:
    octets = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), path).encode("latin-1")
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        raise refuse("escape", f"the path {path[:60]!r} is not UTF-8") from None


def _quote(text: str) -> str:
    """Escape what browsers send bare and strict parsers refuse."""
    if _FORBIDDEN.search(text):
        raise refuse("target", f"the target {text[:60]!r} has characters that must be escaped")
    return _ODD.sub(lambda odd: f"%{ord(odd[0]):02X}", text)
