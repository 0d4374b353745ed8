"""Whatever the attributes of an exception or an answer do, judging it does not fail."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from switchgear.policy.crossing import as_fault
from switchgear.policy.fault import Effect, Fault
from switchgear.policy.foreign import _KNOWN, Meaning, meaning
from switchgear.policy.status import by_status
from switchgear.policy.verdict import BAD, Verdict, effect_of, judge

READ = ("response", "reason", "status", "status_code", "headers", "code", "sqlstate", "severity",
        "errno", "args", "name", "get")  # fmt: skip
CLASSES = sorted(
    (root, name) for root, names in _KNOWN.items() if root != "builtins" for name in names
)


class Angry:
    """It lets nobody do anything with it, and even denies its class."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(f"no {name}")

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    def __hash__(self) -> int:
        raise RuntimeError("not to be hashed")


def raises(error: Exception) -> property:
    def read(self: object) -> object:
        raise error

    return property(read)


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from((200, 404, 503)),
    st.floats(),
    st.text(max_size=6),
    st.binary(max_size=3),
    st.sampled_from(("08006", "23505", "7", "UNAVAILABLE")),
    st.builds(Angry),
    st.just(len),
    st.builds(lambda: ConnectionRefusedError("inside")),
    st.dictionaries(
        st.sampled_from(("retry-after", "ResponseMetadata", "HTTPStatusCode")), st.integers()
    ),
)

attributes = st.one_of(
    values,
    st.sampled_from(
        [raises(error) for error in (RuntimeError("closed"), KeyError("x"), RecursionError())]
    ),
)


@st.composite
def odd(draw: Callable[[Any], Any], depth: int = 2) -> Any:
    """Make an object whose attributes are anything, others of its kind among them."""
    inner = st.one_of(attributes, odd(depth - 1)) if depth else attributes
    shape = draw(st.dictionaries(st.sampled_from(READ[:-1]), inner, max_size=5))
    return type("Odd", (), dict(shape))()


@st.composite
def errors(draw: Callable[[Any], Any]) -> Exception:
    """Make an exception that passes for another library's, with attributes that nobody expects."""
    root, name = draw(st.sampled_from(CLASSES))
    shape = draw(st.dictionaries(st.sampled_from(READ), st.one_of(attributes, odd()), max_size=6))
    base = draw(st.sampled_from((Exception, OSError, TimeoutError, ConnectionResetError)))
    words = draw(st.lists(values, max_size=2))
    kind = type(name, (base,), {**shape, "__module__": draw(st.sampled_from((root, f"{root}.x")))})
    made: Exception = kind(*words)
    return made


@given(errors())
def test_an_exception_is_judged_whatever_it_bears(error: Exception) -> None:
    found = meaning(error)
    assert found is None or isinstance(found, Meaning)
    verdict = judge(error)
    assert isinstance(verdict, Verdict)
    assert verdict == (BAD if found is None else found.verdict)
    assert isinstance(effect_of(error), Effect)
    assert judge(ExceptionGroup("in a group", [error])).health is verdict.health


@given(errors())
def test_what_can_be_told_in_words_crosses_as_a_fault(error: Exception) -> None:
    try:
        str(error)
    except Exception:
        return
    assert isinstance(as_fault(error), Fault)


@given(st.one_of(odd(), attributes))
def test_an_answer_is_judged_whatever_it_bears(answer: object) -> None:
    verdict = by_status(answer)
    assert isinstance(verdict, Verdict)
    assert verdict.after is None or verdict.after >= 0
