"""A short cut to a whole number comes to the same as the way around."""

from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from switchgear.binding.scalars import one

texts = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.text("0123456789+-_ .eE٣²", max_size=25),
    st.text(max_size=5),
)


def around(text: str) -> Any:
    if "\0" in text:
        return None
    try:
        value = msgspec.convert(text, int, strict=False)
    except msgspec.ValidationError:
        return None
    return value if -(2**63) <= value < 2**63 else None


@given(texts)
@example("")
@example("0")
@example("00")
@example("9223372036854775807")
@example("9223372036854775808")
@example("999999999999999999")
def test_a_text_is_the_same_whole_number(text: str) -> None:
    try:
        found = one(int)(text)
    except ValueError:
        found = None
    assert found == around(text)
    assert type(found) is type(around(text))
