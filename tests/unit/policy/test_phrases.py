from http import HTTPStatus

import pytest

from switchgear.policy.phrases import phrase


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (200, "OK"),
        (413, "Content Too Large"),
        (414, "URI Too Long"),
        (416, "Range Not Satisfiable"),
        (422, "Unprocessable Content"),
        (503, "Service Unavailable"),
    ],
)
def test_a_status_is_called_what_the_rfc_calls_it_whatever_the_python(
    status: int, name: str
) -> None:
    assert phrase(status) == name


def test_every_status_has_a_name_and_what_is_none_has_none() -> None:
    assert all(phrase(status) for status in HTTPStatus)
    with pytest.raises(ValueError, match="599"):
        phrase(599)
