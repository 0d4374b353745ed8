"""What the five letters of a PostgreSQL error mean."""

import pytest

from switchgear.policy.fault import Code
from switchgear.policy.sqlstate import of_sqlstate


@pytest.mark.parametrize(
    ("state", "code", "unsure"),
    [
        ("40001", Code.ABORTED, False),
        ("40P01", Code.ABORTED, False),
        ("40003", Code.UNAVAILABLE, True),  # CockroachDB's ambiguous commit
        ("55P03", Code.ABORTED, False),
        ("23505", Code.ALREADY_EXISTS, False),
        ("23P01", Code.ALREADY_EXISTS, False),
        ("23503", Code.FAILED_PRECONDITION, False),
        ("22P02", Code.INVALID_ARGUMENT, False),
        ("42501", Code.PERMISSION_DENIED, False),
        ("57014", Code.DEADLINE_EXCEEDED, True),
        ("25P03", Code.DEADLINE_EXCEEDED, True),
        ("25P04", Code.DEADLINE_EXCEEDED, True),
        ("25006", Code.UNAVAILABLE, False),
        ("53300", Code.UNAVAILABLE, False),
        ("53100", Code.RESOURCE_EXHAUSTED, False),
        ("57P01", Code.UNAVAILABLE, True),
        ("57P02", Code.UNAVAILABLE, True),
        ("57P03", Code.UNAVAILABLE, False),  # starting up: nobody was let in
        ("08006", Code.UNAVAILABLE, True),
        ("08003", Code.UNAVAILABLE, True),
        ("08001", Code.UNAVAILABLE, False),
        ("08004", Code.UNAVAILABLE, False),
        ("08", Code.UNAVAILABLE, True),
        ("28P01", Code.UNAVAILABLE, False),
        ("3D000", Code.UNAVAILABLE, False),
    ],
)
def test_what_a_state_means_and_whether_it_leaves_the_work_unsure(
    state: str, code: Code, unsure: bool
) -> None:
    assert of_sqlstate(state) == (code, unsure)


@pytest.mark.parametrize(
    "state", ["42601", "42P01", "0A000", "57000", "55000", "25001", "P0001", ""]
)
def test_what_is_wrong_with_the_statement_is_a_defect(state: str) -> None:
    assert of_sqlstate(state) is None
