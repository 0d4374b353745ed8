"""Policies of an app under test: for a while as good as new, in another time, or with chaos."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from switchgear.core.policy import Policy
from switchgear.testing.virtual import clock

__all__ = ["overridden"]


@contextmanager
def overridden(*policies: Policy, **options: Any) -> Iterator[None]:
    """Put policies of the same options, which have seen nothing yet, in the place of `policies`.

    ::

        with overridden(app.mail, chaos=Chaos(7, [Failure(Code.UNAVAILABLE, rate=0.5)])):
            run(app.welcome("ada"))          # in virtual time

    For whoever holds one (a module, a decorated function, its `call`) it is the same as before.
    They live in virtual time unless `clock` is given; `options` are those of `Policy`. At the end
    each is again what it was.

    Raises TypeError for what is no policy, and where there is none.
    """
    given: tuple[object, ...] = policies
    wrong = [one for one in given if not isinstance(one, Policy)]
    if wrong or not policies:
        told = ", ".join(map(repr, wrong))
        raise TypeError(f"overridden({told}): policies would be right, as in overridden(app.mail)")
    before = [dict(vars(policy)) for policy in policies]
    # All are made before the first is put in place: options may suit one policy and not the next.
    anew = [policy.anew(**{"clock": clock, **options}) for policy in policies]
    try:
        for policy, fresh in zip(policies, anew, strict=True):
            _lead(policy, fresh.call)
            vars(policy).clear()
            vars(policy).update(vars(fresh))
        yield
    finally:
        for policy, was in zip(policies, before, strict=True):
            vars(policy).clear()
            vars(policy).update(was)
            _lead(policy, None)


def _lead(policy: Policy, call: Callable[..., Any] | None) -> None:
    """Have the `call` that somebody has kept lead to another."""
    way = policy._way  # noqa: SLF001 - nobody else may
    if way is not None:
        way.led = call
