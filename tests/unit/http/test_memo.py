"""Memos of answers: what came before byte for byte is known, and nothing else."""

import pytest

from switchgear.http.heads import read_response
from switchgear.http.memo import AnswerMemo
from switchgear.policy.fault import Fault


def head(number: int = 0, *lines: str, status: int = 200) -> bytes:
    fields = [f"HTTP/1.1 {status} X", f"x-number: {number}", "content-length: 5", *lines]
    return "\r\n".join([*fields, "", ""]).encode("latin-1")


def test_the_same_bytes_are_known_and_others_are_read() -> None:
    memo = AnswerMemo()
    first = memo.read(head(), 100, "GET")
    assert memo.read(head(), 100, "GET") is first
    assert memo.read(head(), 100, "POST") is first
    assert memo.read(head(1), 100, "GET").headers["x-number"] == "1"
    assert first.headers["x-number"] == "0"


def test_what_is_known_is_what_would_be_read() -> None:
    memo = AnswerMemo()
    for status in (200, 201, 204, 304, 404, 500):
        for _ in range(2):
            told = memo.read(head(status=status), 100, "GET")
            assert told.told() == read_response(head(status=status), 100, "GET").told()
        assert told.length == (0 if status in (204, 304) else 5)


def test_what_answered_a_head_is_not_what_answers_a_get() -> None:
    memo = AnswerMemo()
    for _ in range(2):
        assert memo.read(head(), 100, "HEAD").length == 0
        assert memo.read(head(), 100, "GET").length == 5


@pytest.mark.parametrize(
    "once",
    [
        head(0, "set-cookie: a=1"),
        head(0, "x-long: " + "a" * 1024),
        b"HTTP/1.1 103 X\r\nlink: a\r\n\r\n",
    ],
    ids=["a cookie", "long", "interim"],
)
def test_what_is_one_clients_long_or_interim_is_not_kept(once: bytes) -> None:
    memo = AnswerMemo()
    assert memo.read(once, 100, "GET") is not memo.read(once, 100, "GET")


def test_it_keeps_few() -> None:
    memo = AnswerMemo()
    for number in range(1000):
        memo.read(head(number), 100, "GET")
        assert len(memo._heads) <= 32
    assert memo.read(head(999), 100, "GET") is memo.read(head(999), 100, "GET")


def test_what_broke_a_rule_is_no_better_the_next_time() -> None:
    memo = AnswerMemo()
    for _ in range(2):
        with pytest.raises(Fault):
            memo.read(head(0, "content-length: 6"), 100, "GET")
