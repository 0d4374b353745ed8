"""Peers that the configuration names: the processes that no supervisor of ours starts."""

from collections.abc import Iterable, Mapping, Sequence

from switchgear.assembly.decode import Problem, SettingsError

__all__ = ["check_peers"]


def check_peers(
    peers: Mapping[str, Sequence[str]], roles: Iterable[str], sources: Mapping[str, str]
) -> None:
    """Refuse addresses of a role that there is not: nobody would ever look for them.

    Raises:
        SettingsError: with every such role, and those that there are.
    """
    known = list(roles)
    wrong = f"there is no such role; there are: {', '.join(known)}"
    problems = [
        Problem(f"peers.{role}", wrong, sources.get(f"peers.{role}", ""))
        for role in peers
        if role not in known
    ]
    if problems:
        raise SettingsError(problems)
