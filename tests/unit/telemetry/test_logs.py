"""One event, one line; and the bridges that bring others in."""

import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import structlog

from switchgear.telemetry.bridge import bridge, bridge_structlog
from switchgear.telemetry.logs import Log, console_line, json_line


class Lines:
    """A writer's place in a unit test: keeps what it was given."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, line: bytes) -> bool:
        self.lines.append(line)
        return True

    def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.lines]


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def log(lines: Lines) -> Log:
    return Log(lines, "gateway-1", wall=lambda: 1_700_000_000.0426)


@pytest.fixture
def bridged(log: Log) -> Iterator[Log]:
    root = logging.getLogger()
    before = root.handlers, root.level
    bridge(log)
    bridge_structlog(log)
    yield log
    root.handlers, root.level = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


class Served(msgspec.Struct, frozen=True):
    at: str
    level: str
    process: str
    event: str
    route: str
    status: int


def test_a_line_opens_with_when_how_grave_who_and_what(log: Log, lines: Lines) -> None:
    log.info("ready", url="http://127.0.0.1:8080")
    assert lines.lines == [
        (
            b'{"at":"2023-11-14T22:13:20.042Z","level":"info","process":"gateway-1",'
            b'"event":"ready","url":"http://127.0.0.1:8080"}'
        )
    ]


def test_a_struct_is_one_line(log: Log, lines: Lines) -> None:
    log.event(Served(log.stamp(), "info", "gateway-1", "request", "/users", 200))
    assert lines.events()[0]["status"] == 200


def test_what_is_below_the_level_is_not_written(log: Log, lines: Lines) -> None:
    log.debug("noise")
    assert lines.lines == []


def test_an_error_about_half_a_surrogate_brings_its_traceback_too(log: Log, lines: Lines) -> None:
    """As the names of files are that are not UTF-8."""
    try:
        raise FileNotFoundError("r\udce9sum\udce9 is gone")
    except FileNotFoundError as error:
        log.failed("failed", error, number=7)
    event = lines.events()[0]
    assert (event["level"], event["event"], event["number"]) == ("error", "failed", 7)
    assert event["exception"].endswith("FileNotFoundError: r?sum? is gone\n")


def test_an_error_brings_its_traceback(log: Log, lines: Lines) -> None:
    try:
        raise KeyError("gone")
    except KeyError as error:
        log.failed("failed", error)
    event = lines.events()[0]
    assert event["level"] == "error"
    assert event["exception"].endswith("KeyError: 'gone'\n")


@pytest.mark.parametrize("value", [object(), "\ud800", {1: {(): 2}}, {"a": float("nan")}])
def test_no_value_can_make_a_line_fail(log: Log, lines: Lines, value: object) -> None:
    log.info("odd", value=value)
    assert msgspec.json.decode(lines.lines[0])["event"] in ("odd", "unloggable")


@pytest.mark.parametrize("value", [object(), "\ud800", {1: 2}, "two\nlines"])
def test_a_readable_line_has_the_same_content(value: object) -> None:
    line = console_line({"at": "2023-11-14T22:13:20.042Z", "event": "odd", "value": value})
    assert line.startswith(b"22:13:20.042")
    assert b"odd" in line


@pytest.mark.parametrize("field", ["event", "detail"])
def test_what_a_stranger_wrote_cannot_command_the_terminal_nor_look_like_a_line(field: str) -> None:
    evil = "\x1b]0;mine\x07\x1b[2J\x9b2J\r\x7f\n05:00:00.000 error   all is lost"
    line = console_line({"at": "2023-11-14T22:13:20.042Z", "event": "odd", field: evil}).decode()
    ours = re.sub(r"\x1b\[[0-9]{1,2}m", "", line)  # colours
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", ours)
    assert not any(part.startswith("05:00") for part in line.split("\n"))


def test_nor_does_it_from_a_line_of_json(log: Log, lines: Lines) -> None:
    """Whoever reads the file reads it on a terminal, and some split it where Python would."""
    evil = "\x1b]0;mine\x07\x9b2J\x85\r\x7f\u2028\u2029\n\xc3\xa9 \xbf\xe9\u20ac\U0001f600"
    log.info(evil, detail=evil, **{evil: {evil: [evil]}})
    line = lines.lines[0].decode()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
    assert len(line.splitlines()) == 1
    event = lines.events()[0]
    assert (event["event"], event["detail"], event[evil]) == (evil, evil, {evil: [evil]})
    assert "\xe9\u20ac\U0001f600" in line, "what can be read is left as it is"


def test_stdlib_records_come_out_as_events(bridged: Log, lines: Lines) -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger("user.code").exception("no %s", "luck", extra={"order": 7, "level": "x"})
    event = lines.events()[0]
    assert (event["event"], event["logger"], event["order"]) == ("no luck", "user.code", 7)
    assert (event["level"], event["level_"]) == ("error", "x")
    assert "ValueError: bad" in event["exception"]


def test_structlog_comes_out_as_events_and_its_level_holds(
    bridged: Log, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.get_logger().bind(order=7).warning("low stock", left=2)
    structlog.get_logger().debug("noise")
    assert [(e["event"], e["level"], e["order"], e["left"]) for e in lines.events()] == [
        ("low stock", "warning", 7, 2)
    ]
    assert capsys.readouterr() == ("", "")


def test_warnings_come_out_as_events(bridged: Log, lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", stacklevel=1)
    logging.captureWarnings(capture=False)
    assert "old ways" in lines.events()[0]["event"]


def test_json_line_is_what_msgspec_writes() -> None:
    assert json_line({"a": 1}) == b'{"a":1}'


def test_an_application_that_configured_structlog_keeps_what_it_configured(
    log: Log, lines: Lines
) -> None:
    structlog.configure(processors=[])
    try:
        bridge_structlog(log)
        assert structlog.get_config()["processors"] == []
    finally:
        structlog.reset_defaults()
