"""The log observer: sentences with fields, at levels that let an operator sleep."""

import logging
from typing import Any

import pytest
import structlog

from switchgear.core.observe import (
    AttemptEnded,
    CallEnded,
    Coalesced,
    FellBack,
    Hedging,
    Overran,
    Refusing,
    Retrying,
)
from switchgear.policy.breaker_settings import State, Transition
from switchgear.policy.fault import Refusal
from switchgear.policy.verdict import BAD, GOOD
from switchgear.telemetry.observers import LogObserver
from tests.support.events import KINDS, of

OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class Lines(logging.Handler):
    """Keeps the records of a logger that nothing else sees."""

    def __init__(self, level: int = logging.DEBUG) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.logger = logging.getLogger("tests.observers")
        self.logger.propagate = False
        self.logger.setLevel(level)
        self.logger.handlers = [self]

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    def fields(self) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in vars(record).items() if key not in OWN}
            for record in self.records
        ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_its_line(kind: type) -> None:
    lines = Lines()
    LogObserver(lines.logger)(of(kind))
    (text,) = lines.texts()
    assert text.startswith("mail: ")
    (fields,) = lines.fields()
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__)
    assert fields["kind"] == snake.removeprefix("_")
    assert fields["policy"] == "mail"


TOLD = [
    (
        AttemptEnded("mail", 2, BAD, 0.25),
        logging.DEBUG,
        "mail: attempt 2 was bad after 0.250 s",
        {"kind": "attempt_ended", "attempt": 2, "health": "bad", "elapsed": 0.25},
    ),
    (
        CallEnded("mail", 1, GOOD, 0.25),
        logging.DEBUG,
        "mail: a call succeeded after 1 attempt and 0.250 s",
        {"kind": "call_ended", "attempts": 1, "code": "", "elapsed": 0.25},
    ),
    (
        CallEnded("mail", 3, BAD, 0.25, "unavailable"),
        logging.DEBUG,
        "mail: a call failed with unavailable after 3 attempts and 0.250 s",
        {"kind": "call_ended", "attempts": 3, "code": "unavailable", "elapsed": 0.25},
    ),
    (
        CallEnded("mail", 0, BAD, 0.0, "unavailable"),
        logging.DEBUG,
        "mail: a call failed with unavailable after 0 attempts and 0.000 s",
        {"kind": "call_ended", "attempts": 0, "code": "unavailable", "elapsed": 0.0},
    ),
    (
        Refusing("mail", "mail", "breaker 'mail' is open", Refusal.OPEN, kind="breaker"),
        logging.INFO,
        "mail: a call was refused: breaker 'mail' is open",
        {
            "kind": "refusing",
            "gate": "breaker",
            "reason": "open",
            "detail": "breaker 'mail' is open",
            "enforced": True,
        },
    ),
    (
        Refusing("mail", "mail", "it is full: 64 %s", enforced=False, kind="bulkhead"),
        logging.INFO,
        "mail: a call would have been refused: it is full: 64 %s",
        {
            "kind": "refusing",
            "gate": "bulkhead",
            "reason": "full",
            "detail": "it is full: 64 %s",
            "enforced": False,
        },
    ),
    (
        Retrying("mail", 1, 0.125, BAD),
        logging.DEBUG,
        "mail: attempt 2 follows in 0.125 s",
        {"kind": "retrying", "attempt": 1, "wait": 0.125, "health": "bad", "enforced": True},
    ),
    (
        Retrying("mail", 1, 0.125, BAD, enforced=False),
        logging.DEBUG,
        "mail: attempt 2 would follow in 0.125 s",
        {"kind": "retrying", "attempt": 1, "wait": 0.125, "health": "bad", "enforced": False},
    ),
    (
        Hedging("mail", 0.1),
        logging.DEBUG,
        "mail: another attempt was sent beside one silent for 0.100 s",
        {"kind": "hedging", "after": 0.1},
    ),
    (
        Overran("mail", 0.5),
        logging.WARNING,
        "mail: work goes on past its time, by 0.500 s, and still holds its permits",
        {"kind": "overran", "after": 0.5, "enforced": True},
    ),
    (
        Overran("mail", 0.0),
        logging.WARNING,
        "mail: work goes on past its time and still holds its permits",
        {"kind": "overran", "after": 0.0, "enforced": True},
    ),
    (
        Overran("mail", 0.5, enforced=False),
        logging.WARNING,
        "mail: work is past the time it would have had, by 0.500 s, and still holds its permits",
        {"kind": "overran", "after": 0.5, "enforced": False},
    ),
    (
        FellBack("mail", "static", "unavailable"),
        logging.INFO,
        "mail: a fallback (static) answered a call that failed with unavailable",
        {"kind": "fell_back", "how": "static", "code": "unavailable", "age": None},
    ),
    (
        FellBack("mail", "stale", "unavailable", 12.5),
        logging.INFO,
        "mail: a fallback (stale, of 12.500 s ago) answered a call that failed with unavailable",
        {"kind": "fell_back", "how": "stale", "code": "unavailable", "age": 12.5},
    ),
    (
        Coalesced("mail"),
        logging.DEBUG,
        "mail: a call joined an earlier one that asks for the same",
        {"kind": "coalesced"},
    ),
    (
        Transition("mail", State.HALF_OPEN, State.CLOSED, 5.0, "3 probes"),
        logging.WARNING,
        "mail: the breaker went from half open to closed: 3 probes",
        {"kind": "transition", "old": "half_open", "new": "closed", "why": "3 probes"},
    ),
    (
        Transition("mail", State.OPEN, State.HALF_OPEN, 5.0, "it was open for 5 s"),
        logging.WARNING,
        "mail: the breaker went from open to half open: it was open for 5 s",
        {"kind": "transition", "old": "open", "new": "half_open", "why": "it was open for 5 s"},
    ),
]


@pytest.mark.parametrize(("event", "level", "text", "fields"), TOLD)
def test_what_is_told_and_how_grave_it_is(
    event: Any, level: int, text: str, fields: dict[str, Any]
) -> None:
    lines = Lines()
    LogObserver(lines.logger)(event)
    assert [record.levelno for record in lines.records] == [level]
    assert lines.texts() == [text]
    assert lines.fields() == [{"policy": "mail", **fields}]


@pytest.mark.parametrize(("event", "level", "text", "fields"), TOLD)
def test_structlog_gets_the_same(event: Any, level: int, text: str, fields: dict[str, Any]) -> None:
    with structlog.testing.capture_logs() as captured:
        LogObserver(structlog.get_logger())(event)
    name = logging.getLevelName(level).lower()
    assert captured == [{"log_level": name, "event": text, "policy": "mail", **fields}]


def test_by_default_it_writes_to_the_logger_of_the_project(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "switchgear"):
        LogObserver()(Refusing("mail", "breaker", "it is open"))
    assert caplog.record_tuples == [
        ("switchgear", logging.INFO, "mail: a call was refused: it is open")
    ]


def test_what_it_does_not_know_it_passes_over() -> None:
    lines = Lines()
    observer = LogObserver(lines.logger)
    for event in (None, "text", object()):
        observer(event)
    assert lines.texts() == []


def test_what_is_too_slight_is_neither_written_nor_counted() -> None:
    lines = Lines(logging.INFO)
    observer = LogObserver(lines.logger, most=1)
    for _ in range(5):
        observer(Retrying("mail", 1, 0.1, BAD))
    lines.logger.setLevel(logging.DEBUG)
    observer(Retrying("mail", 1, 0.1, BAD))
    assert lines.texts() == ["mail: attempt 2 follows in 0.100 s"]


def refusing(gate: str = "breaker", name: str = "mail") -> Refusing:
    return Refusing(name, gate, "no")


def test_an_outage_is_no_flood_and_what_was_left_out_is_counted() -> None:
    now = [100.0]
    lines = Lines()
    observer = LogObserver(lines.logger, most=3, clock=lambda: now[0])
    for _ in range(1000):
        observer(refusing())
    now[0] += 0.999
    observer(refusing())
    assert lines.texts() == ["mail: a call was refused: no"] * 3
    now[0] = 101.0
    for _ in range(4):
        observer(refusing())
    assert lines.texts()[3:] == [
        "mail: a call was refused: no (998 more like it were left out)",
        "mail: a call was refused: no",
        "mail: a call was refused: no",
    ]
    assert [fields.get("left_out") for fields in lines.fields()[2:]] == [None, 998, None, None]
    now[0] = 500.0
    observer(refusing())
    assert lines.fields()[-1]["left_out"] == 1


def test_each_kind_policy_gate_and_reason_has_lines_of_its_own() -> None:
    lines = Lines()
    observer = LogObserver(lines.logger, most=1, clock=lambda: 0.0)
    for _ in range(2):
        observer(refusing())
        observer(refusing("bulkhead"))
        observer(Refusing("mail", "mail", "no", Refusal.OPEN, kind="breaker"))
        observer(refusing(name="search"))
        observer(FellBack("mail", "static", "unavailable"))
    assert len(lines.texts()) == 5


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_only_what_comes_in_crowds_is_throttled(kind: type) -> None:
    lines = Lines()
    observer = LogObserver(lines.logger, clock=lambda: 0.0)
    for _ in range(20):
        observer(of(kind))
    every = kind in (AttemptEnded, CallEnded, Transition)
    assert len(lines.texts()) == (20 if every else 5)


def test_its_memory_is_bounded_whatever_the_names() -> None:
    now = [0.0]
    lines = Lines()
    observer = LogObserver(lines.logger, most=1, clock=lambda: now[0])
    for number in range(3000):
        observer(refusing(name=f"policy {number}"))
    assert len(lines.texts()) == 1001  # the last one stands for all that were too many
    now[0] = 1.0
    for name in ("policy 0", "policy 1", "policy 2000", "policy 2001"):
        observer(refusing(name=name))
    assert lines.texts()[1001:] == [
        "policy 0: a call was refused: no",
        "policy 1: a call was refused: no",
        "policy 2000: a call was refused: no (1999 more like it were left out)",
    ]


def test_a_throttle_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 line"):
        LogObserver(most=0)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("policies", r"logging\.getLogger\('policies'\)"),
        (logging, "a logger"),
        (logging.Logger, "a logger"),
        (print, "a logger"),
    ],
)
def test_what_is_no_logger_is_refused(wrong: Any, right: str) -> None:
    with pytest.raises(TypeError, match=f"logger is .*, where {right} would be right$"):
        LogObserver(wrong)


def test_a_logger_of_structlog_is_not_bound_before_it_writes() -> None:
    """What it was configured with at the start would then hold for ever."""
    structlog.configure(cache_logger_on_first_use=True)
    try:
        observer = LogObserver(structlog.get_logger())
        structlog.configure(processors=[structlog.testing.LogCapture()])
        told = structlog.get_config()["processors"][0].entries
        observer(Refusing("mail", "breaker", "it is open"))
        assert [entry["event"] for entry in told] == ["mail: a call was refused: it is open"]
    finally:
        structlog.reset_defaults()
