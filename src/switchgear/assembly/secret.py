"""Secrets: settings that say where a secret is, and never what it is."""

import os
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

__all__ = ["Secret", "SecretUrl", "revealed"]

Tree = TypeVar("Tree", bound=msgspec.Struct)


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a secret is, `{env = "..."}` or `{file = "..."}`.

    `value` is filled in by `revealed`, for a process that must not or cannot look for itself; no
    configuration may give it.
    """

    env: str = ""
    file: str = ""
    value: str = ""

    def __post_init__(self) -> None:
        if bool(self.env) + bool(self.file) + bool(self.value) > 1:
            raise ValueError('give one of {env = "..."} and {file = "..."}, not both')

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place})"

    @property
    def place(self) -> str:
        """Where the secret is, in words; never the secret."""
        if self.env:
            return f"env {self.env}"
        return f"file {self.file}" if self.file else "set"

    def reveal(self) -> str:
        """Return the secret, without the newline that ends its file.

        Raises:
            ValueError: it is not where the reference says.
        """
        if self.value:
            return self.value
        if self.env:
            found = os.environ.get(self.env, "")
            if not found:
                raise ValueError(f"the environment variable {self.env} is not set")
            return found
        try:
            found = Path(self.file).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ValueError(f"cannot read the secret's file {self.file}: {why}") from None
        if not found:
            raise ValueError(f"the secret's file {self.file} is empty")
        return found

    @classmethod
    def written(cls, text: str) -> "Secret":
        """Refuse a secret that somebody wrote into the configuration itself.

        Raises:
            ValueError: always, saying how to refer to it.
        """
        del text  # and do not repeat it
        raise ValueError(
            'a secret is not written here; say where it is: {env = "VARIABLE"} or {file = "/path"}'
        )


class SecretUrl(Secret, frozen=True):
    """A URL that may hold a password. One that holds none may be written out."""

    @classmethod
    def written(cls, text: str) -> "Secret":
        """Take a URL that holds no password.

        Raises:
            ValueError: it is no URL, or holds a password.
        """
        try:
            parts = urlsplit(text)
            hidden = parts.password is not None or "password" in parse_qs(parts.query)
        except ValueError:
            parts, hidden = None, False
        if parts is None or not parts.scheme:
            raise ValueError("this is no URL (scheme://host/...)")
        if hidden:
            raise ValueError(
                "a URL with a password is a secret; say where it is: "
                '{env = "VARIABLE"} or {file = "/path"}'
            )
        return cls(value=text)


def revealed(tree: Tree) -> Tree:
    """Return the settings with every secret's value in it, for another process.

    Raises:
        ValueError: a secret is not where its reference says.
    """
    changed: dict[str, object] = {}
    for field in tree.__struct_fields__:
        value = getattr(tree, field)
        if isinstance(value, Secret):
            changed[field] = type(value)(value=value.reveal())
        elif isinstance(value, msgspec.Struct):
            changed[field] = revealed(value)
    return msgspec.structs.replace(tree, **changed)
