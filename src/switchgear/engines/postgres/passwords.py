"""The passwords of the embedded server's roles: generated once, kept in a file of mode 0600."""

import os
import secrets
from pathlib import Path

import msgspec

from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["Passwords"]


class Passwords:
    """A password per role, in one file that is replaced whole."""

    def __init__(self, path: Path, owner: tuple[int, int] | None = None) -> None:
        self.path = path
        self._owner = owner

    def of(self, *roles: str) -> dict[str, str]:
        """Return the passwords of `roles`; those that have none yet get one, and it is saved."""
        known = self._read()
        missing = [role for role in roles if role not in known]
        if missing:
            known.update({role: secrets.token_urlsafe(24) for role in missing})
            self._write(known)
        return {role: known[role] for role in roles}

    def _read(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise Fault(
                Code.FAILED_PRECONDITION,
                f"the password file {self.path} cannot be read: {error}. Restore it from a backup",
                effect=Effect.NONE,
                origin="postgres",
            ) from error

    def _write(self, known: dict[str, str]) -> None:
        new = self.path.with_name(f"{self.path.name}.new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(known))
            file.flush()
            os.fsync(file.fileno())
            if self._owner is not None:
                os.fchown(file.fileno(), *self._owner)
        new.rename(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def __repr__(self) -> str:
        return f"Passwords({self.path})"
