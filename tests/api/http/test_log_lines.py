"""Log lines: their form, the request id in all of them, and nothing secret in any."""

import io
import json
import logging
from typing import Any

import pytest
import structlog

from api.http.log_lines import REQUEST_ID, configure, trace
from security.masking import Masker

SECRET = "glog_cs_" + "Zz09" * 9


@pytest.fixture
def stream(logging_restored: None) -> io.StringIO:
    target = io.StringIO()
    configure(format="json", level="info", stream=target)
    return target


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_and_request_id(stream):
    token = REQUEST_ID.set("abc")
    structlog.get_logger().info("started", version="1")
    REQUEST_ID.reset(token)
    structlog.get_logger().warning("later")
    first, second = lines(stream)
    assert (first["event"], first["level"], first["version"], first["request_id"]) == ("started", "info", "1", "abc")
    assert first["timestamp"].endswith("Z")
    assert "request_id" not in second


def test_the_level_is_kept(stream):
    structlog.get_logger().debug("no")
    logging.getLogger("sqlalchemy.engine").info("SELECT")
    logging.getLogger("somebody").debug("no")
    assert stream.getvalue() == ""


def test_other_libraries_write_the_same_lines(stream):
    token = REQUEST_ID.set("abc")
    logging.getLogger("library").warning("token %s is odd", SECRET)
    logging.getLogger("alembic.runtime.plugins").info("setup plugin")
    REQUEST_ID.reset(token)
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["request_id"]) == ("token glog_cs_*** is odd", "warning", "abc")


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        {"a": [SECRET]},
        {SECRET: 1},
        (SECRET,),
        {SECRET},
        f"Bearer {SECRET}.",
        SECRET[:20],
        ValueError(SECRET),
        SECRET.encode(),
    ],
)
def test_whatever_is_shaped_like_a_secret_is_masked(stream, value):
    structlog.get_logger().info(f"got {SECRET}", value=value)
    assert SECRET[8:16] not in stream.getvalue()


def test_words_that_only_look_alike_are_kept():
    assert Masker("glog").value("glog_at_work and grantlog") == "glog_at_work and grantlog"
    assert Masker("acme").value("acme_at_" + "x" * 36) == "acme_at_***"


def test_secrets_without_anything_between_them_are_all_masked():
    secret = "glog_at_" + "a" * 36
    assert Masker("glog").text(secret * 3) == "glog_at_***" * 3
    assert Masker("glog").text("glog_at_abc" + secret) == "glog_at_abcglog_at_***"


def test_an_exception_leaves_its_place_but_no_message(stream):
    def fail() -> None:
        try:
            raise KeyError("hunter2")
        except KeyError as error:
            raise ValueError("hunter2") from error

    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("failed too")
    assert "hunter2" not in stream.getvalue()
    for line in lines(stream):
        assert (line["exception"], line["caused_by"]) == ("builtins.ValueError", ["builtins.KeyError"])
        assert line["trace"][-1].endswith(" fail")


def test_what_broke_off_a_task_among_others_is_named():
    error = BaseExceptionGroup("both", [ExceptionGroup("one", [KeyError()]), ValueError()])
    assert trace(error)["exception"] == "builtins.KeyError"


def test_a_circle_of_causes_ends():
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert trace(first)["caused_by"] == ["builtins.KeyError"]


def test_nobody_writes_a_second_line(stream):
    structlog.get_logger().info('a\n{"event": "forged"}')
    assert len(lines(stream)) == 1


def test_a_terminal_gets_columns(logging_restored):
    target = io.StringIO()
    configure(format="console", stream=target)
    structlog.get_logger().info("started", token=SECRET)
    assert "started" in target.getvalue()
    assert not target.getvalue().startswith("{")
    assert SECRET not in target.getvalue()


def test_auto_is_json_where_nobody_watches(logging_restored):
    target = io.StringIO()
    configure(format="auto", stream=target)
    structlog.get_logger().info("started")
    assert json.loads(target.getvalue())["event"] == "started"


def test_a_line_that_cannot_be_written_ends_nothing(logging_restored):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

        flush = close = lambda self: None

    configure(stream=Full())
    structlog.get_logger("t").info("said")
    logging.getLogger("other").warning("said too")
