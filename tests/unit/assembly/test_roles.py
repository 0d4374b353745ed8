"""What a role says back: that it is ready, and what does not serve it."""

import asyncio

import pytest

from switchgear.assembly.messages import Degraded, Ready, Upward
from switchgear.assembly.roles import Post, RoleContext
from switchgear.assembly.settings import Settings
from switchgear.telemetry.logs import Log


class Lines:
    def put(self, line: bytes) -> bool:
        return True


def context(said: list[Upward]) -> RoleContext:
    post = Post("service", 2, endpoint="unix:/run/service-2")
    return RoleContext(post, Settings(), Log(Lines(), "service-2"), tell=said.append)


def test_a_role_is_ready_at_its_post_or_where_it_says() -> None:
    said: list[Upward] = []
    role = context(said)
    role.ready()
    role.ready("tcp:127.0.0.1:81")
    assert said == [Ready("unix:/run/service-2"), Ready("tcp:127.0.0.1:81")]
    assert (role.name, role.label) == ("service", "service-2")


def test_reasons_are_kept_by_dependency_and_told_only_when_they_change() -> None:
    said: list[Upward] = []
    role = context(said)
    role.degraded("database", None)
    role.degraded("database", "refused")
    role.degraded("database", "refused")
    role.degraded("mail", "slow")
    role.degraded("database", None)
    role.degraded("mail", None)
    assert said == [
        Degraded(("database: refused",)),
        Degraded(("database: refused", "mail: slow")),
        Degraded(("mail: slow",)),
        Degraded(()),
    ]


def test_a_second_drain_can_only_shorten_the_time() -> None:
    role = context([])
    assert not role.draining.is_set()
    role.drain(5)
    role.drain(9)
    assert role.draining.is_set()
    assert role.drain_within == 5
    role.drain(1)
    assert role.drain_within == 1


@pytest.mark.virtual
async def test_a_lame_duck_is_leaving_and_goes_on_until_its_time_is_over_or_it_is_asked_again() -> (
    None
):
    role = context([])
    role.drain(15, after=5)
    assert role.leaving
    await asyncio.sleep(4.9)
    assert not role.draining.is_set()
    await asyncio.sleep(0.2)
    assert role.draining.is_set()
    hurried = context([])
    hurried.drain(15, after=5)
    hurried.drain(15)
    assert hurried.draining.is_set()
