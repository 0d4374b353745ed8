"""Secrets: settings that say where a secret is, and never what it is."""

import os
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

__all__ = ["Secret", "SecretUrl", "withheld"]

Tree = TypeVar("Tree", bound=msgspec.Struct)


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a secret is, `{env = "..."}` or `{file = "..."}`.

    `value` is that of a URL which holds no password; no configuration may give a secret itself.
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
        if self.file:
            return f"file {self.file}"
        return "set" if self.value else "withheld"

    def reveal(self) -> str:
        """Return the secret, without the newline that ends its file.

        Raises:
            ValueError: it is not where the reference says.
        """
        if self.value:
            return self.value
        if self.env:
            given = os.environ.get(self.env)
            if not given:
                how = "not set" if given is None else "empty"
                raise ValueError(f"the environment variable {self.env} is {how}")
            return given
        if not self.file:
            raise ValueError("the secret was withheld from this process")
        try:
            found = Path(self.file).read_text("utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            if "\0" in self.file:
                why = "there is a NUL in its name"
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
            named = parse_qs(parts.query, keep_blank_values=True)
            hidden = parts.password is not None or any("password" in name for name in named)
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


def withheld(tree: Tree) -> Tree:
    """Return the settings without their secrets, for a process that has no use for them.

    It may run a stranger's code one day, and the database's URL is that of whoever may make roles.
    """
    changed: dict[str, object] = {}
    for field in tree.__struct_fields__:
        value = getattr(tree, field)
        if isinstance(value, Secret):
            changed[field] = type(value)()
        elif isinstance(value, msgspec.Struct):
            changed[field] = withheld(value)
    return msgspec.structs.replace(tree, **changed)
