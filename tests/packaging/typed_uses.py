"""Uses of a policy that type checkers have to see as they are. It is read by them, and never run.

What stands behind a `type: ignore` has to be an error: both checkers tell of one that is needless.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar, assert_type

from switchgear import (
    BackoffSettings,
    BreakerSettings,
    Fault,
    Finding,
    GcraSettings,
    Policy,
    Stale,
    current,
    deadline,
    remaining,
    static,
    within,
)
from switchgear.policy.breaker import Breaker
from switchgear.policy.call import Call
from switchgear.testing import Chaos

Item = TypeVar("Item")

mail = Policy("mail", deadline="2s", timeout=0.5, attempts=3, repeatable=True)


class Letter:
    """Something to send."""


class Receipt:
    """What one gets for it."""


async def send(letter: Letter, *, copies: int = 1) -> Receipt:
    return Receipt()


def render(letter: Letter, width: int = 80) -> str:
    return ""


async def same(item: Item) -> Item:
    return item


def same_here(item: Item) -> Item:
    return item


def plainly(letter: Letter) -> Coroutine[Any, Any, Receipt]:
    return send(letter)


def awaitable(letter: Letter) -> Awaitable[Receipt]:
    return send(letter)


async def calls(letter: Letter) -> None:
    """A call has the arguments and the result of its function."""
    assert_type(await mail.call(send, letter), Receipt)
    assert_type(await mail.call(send, letter, copies=2), Receipt)
    assert_type(await mail.call(same, 5), int)
    assert_type(await mail.call(same, letter), Letter)
    assert_type(await mail.call(plainly, letter), Receipt)
    assert_type(await mail.call(awaitable, letter), Receipt)
    assert_type(await mail.call(Client().get, "x"), bytes)
    await mail.call(send)  # type: ignore[call-arg]  # the point
    await mail.call(send, 5)  # type: ignore[arg-type]  # the point
    await mail.call(send, letter, copies="two")  # type: ignore[arg-type]  # the point
    await mail.call(send, letter, copy=2)  # type: ignore[call-arg]  # the point
    await mail.call(render, letter)  # type: ignore[arg-type]  # the point
    await mail.call(send(letter))  # type: ignore[arg-type]  # the point


async def threads(letter: Letter) -> None:
    """A call in a thread has them, too."""
    assert_type(await mail.call_in_thread(render, letter), str)
    assert_type(await mail.call_in_thread(render, letter, width=40), str)
    assert_type(await mail.call_in_thread(same_here, 5), int)
    await mail.call_in_thread(render, "letter")  # type: ignore[arg-type]  # the point
    await mail.call_in_thread(render, letter, height=5)  # type: ignore[call-arg]  # the point


def blocking(letter: Letter) -> None:
    """Without a loop, the result is there at once."""
    assert_type(mail.run(send, letter), Receipt)
    assert_type(mail.run(same, 5), int)
    mail.run(send, 5)  # type: ignore[arg-type]  # the point


@mail
async def decorated(letter: Letter, *, copies: int = 1) -> Receipt:
    return Receipt()


@mail
def decorated_here(letter: Letter, width: int = 80) -> str:
    return ""


@mail
async def decorated_same(item: Item) -> Item:
    return item


async def decorations(letter: Letter) -> None:
    """A decorated function keeps its arguments; a plain one becomes async."""
    assert_type(await decorated(letter), Receipt)
    assert_type(await decorated(letter, copies=2), Receipt)
    assert_type(await decorated_here(letter), str)
    assert_type(await decorated_here(letter, width=5), str)
    assert_type(await decorated_same(5), int)
    assert_type(await mail(render)(letter), str)
    assert_type(await mail(plainly)(letter), Receipt)
    await decorated(5)  # type: ignore[arg-type]  # the point
    await decorated(letter, copy=2)  # type: ignore[call-arg]  # the point
    await decorated_here()  # type: ignore[call-arg]  # the point
    decorated_here(letter).upper()  # type: ignore[attr-defined]  # the point


class Client:
    """Methods are functions."""

    def __init__(self) -> None:
        self.policy = Policy("client")

    @mail
    async def get(self, path: str) -> bytes:
        return b""

    @mail
    def read(self, path: str) -> bytes:
        return b""

    @staticmethod
    @mail
    async def ping(times: int) -> int:
        return times

    @classmethod
    @mail
    async def make(cls, number: int) -> int:
        return number

    async def here(self, path: str) -> bytes:
        return await self.policy.call(self.get, path)


async def methods(client: Client) -> None:
    assert_type(await client.get("/"), bytes)
    assert_type(await client.read("/"), bytes)
    assert_type(await client.here("/"), bytes)
    assert_type(await Client.ping(1), int)
    assert_type(await Client.make(1), int)
    assert_type(await Client.get(client, "/"), bytes)
    await client.get(5)  # type: ignore[arg-type]  # the point
    await client.read()  # type: ignore[call-arg]  # the point
    await Client.ping("once")  # type: ignore[arg-type]  # the point


async def blocks() -> None:
    """A block binds nothing, and swallows nothing: what follows it in the function is reached."""
    async with mail as bound:
        assert_type(bound, None)
    with within("2s") as until:
        assert_type(until, float)
    assert_type(deadline(), float)
    assert_type(remaining(), float)
    assert_type(current(), Call[Any] | None)


async def returns_from_a_block() -> int:
    async with mail:
        return 5


def looks() -> None:
    """What is known of a policy."""
    assert_type(mail.statistics(), dict[str, dict[str, float | str]])
    assert_type(mail.describe(), str)
    assert_type(mail.lint(), tuple[Finding, ...])
    assert_type(mail.lint_around(Policy("inner")), tuple[Finding, ...])
    assert_type(mail.breaker, Breaker | None)
    assert_type(mail.name, str)


def same_letter(letter: Letter, copies: int = 1) -> tuple[int, int]:
    return id(letter), copies


def user_of(letter: Letter) -> str:
    return ""


def fall_back(error: Exception, letter: Letter) -> Receipt:
    return Receipt()


async def fall_back_later(error: Exception, letter: Letter) -> Receipt:
    return Receipt()


def translate(error: Exception) -> Fault | None:
    return None


def options() -> None:
    """Options are what they are."""
    Policy("a", deadline=None, timeout=None, breaker=None, bulkhead=None, hurry=None, retry=None)
    Policy("a", breaker=BreakerSettings(calls=5), retry=BackoffSettings(base=0.1))
    Policy("a", fallback=static([]))
    Policy("a", fallback=fall_back)
    Policy("a", fallback=fall_back_later)
    Policy("a", fallback=Stale(age=60.0, key=str))
    Policy("a", coalesce=same_letter, key=user_of)
    Policy("a", translate=translate, observe=print, rate=GcraSettings(0.1))
    Policy("a", mode="observe")
    Policy("a", mode={"breaker": "observe", "retry": "off"})
    Policy()  # type: ignore[call-arg]  # the point
    Policy("a", 5)  # type: ignore[call-arg]  # the point
    Policy("a", breaker=5)  # type: ignore[arg-type]  # the point
    Policy("a", timeout=[])  # type: ignore[arg-type]  # the point
    Policy("a", mode="on")  # type: ignore[arg-type]  # the point
    Policy("a", rate="10/s")  # type: ignore[arg-type]  # the point
    Policy("a", breakers=None)  # type: ignore[call-arg]  # the point
    Policy("a", judge=lambda: None)  # type: ignore[arg-type, misc]  # the point


def keep(function: Callable[[Letter], Coroutine[Any, Any, Receipt]]) -> None:
    """What is decorated goes wherever the function went."""


keep(decorated)
keep(mail(send))
keep(decorated_here)  # type: ignore[arg-type]  # the point


class Sender(Protocol):
    """What a client is to its users, who know of no policy."""

    async def fetch(self, number: int) -> Letter: ...

    async def print(self, letter: Letter) -> str: ...


class Sent:
    """A client whose methods are under a policy."""

    @mail
    async def fetch(self, number: int) -> Letter:
        return Letter()

    @mail
    def print(self, letter: Letter) -> str:
        return ""


sender: Sender = Sent()


class Shelf(Protocol):
    """What somebody asks for: an async method."""

    async def find(self, number: int) -> str: ...


class Plain:
    """What somebody derives from."""

    async def find(self, number: int) -> str:
        return ""


class Disturbed(Plain):
    """In a test, with chaos around the method."""

    @Chaos(7).around
    async def find(self, number: int) -> str:
        return ""


shelf: Shelf = Disturbed()
