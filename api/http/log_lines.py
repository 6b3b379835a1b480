"""Log lines: JSON for machines, columns for a terminal, one request id throughout, nothing secret in any of them."""

import logging
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TextIO, cast

import msgspec
import structlog

from security.masking import LogLine, Masker

REQUEST_ID: ContextVar[str | None] = ContextVar("grantlog_request_id", default=None)
"""The id of the request in hand. The outermost layer sets it, so every line that is written meanwhile carries it."""

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FRAMES = 30
"""Frames of a trace that are kept, the innermost ones."""


def trace(error: BaseException) -> dict[str, Any]:
    """What a log line says of an exception: its types and where it came from. Its messages repeat values: a database
    driver's the parameters of a statement, a decoder's the text it was given. Of several at once it is the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    kinds = [f"{type(link).__module__}.{type(link).__qualname__}" for link in chain]
    frames = [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for link in reversed(chain)
        for frame in traceback.extract_tb(link.__traceback__)
    ]
    return {"exception": kinds[0], "caused_by": kinds[1:], "trace": frames[-FRAMES:]}


def with_request_id(_logger: Any, _method: str, line: LogLine) -> LogLine:
    """Adds the id of the request in hand."""
    if (request_id := REQUEST_ID.get()) is not None:
        line.setdefault("request_id", request_id)
    return line


def without_messages(_logger: Any, _method: str, line: LogLine) -> LogLine:
    """Puts a trace in the place of `exc_info`."""
    given = line.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    if isinstance(given, tuple):
        given = given[1]
    if isinstance(given, BaseException):
        line.update(trace(given))
    return line


def as_json(_logger: Any, _method: str, line: LogLine) -> str:
    """One line of JSON; line breaks in values are escaped, so nobody can write a second line."""
    return msgspec.json.encode(line, enc_hook=str).decode()


class StandardLibrary(logging.Handler):
    """Passes what other libraries log to structlog, so that it takes the same form and the same masking."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        error = record.exc_info[1] if record.exc_info else None
        method = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        logger = structlog.get_logger(record.name)
        getattr(logger, method if method in LEVELS else "info")(text, **({"exc_info": error} if error else {}))


class Enduring:
    """A stream that never fails its writer: a full disk, or a reader that has gone, must not end what is being done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure(
    *, format: str = "auto", level: str = "info", prefixes: Iterable[str] = ("glog",), stream: TextIO | None = None
) -> None:
    """Set logging up for the process. `stream` is standard error unless given; `auto` asks whether it is a terminal."""
    target = sys.stderr if stream is None else stream
    console = format == "console" or (format == "auto" and target.isatty())
    masker = Masker(*prefixes)
    last: list[Any] = [structlog.dev.ConsoleRenderer(colors=target.isatty())] if console else [as_json]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            with_request_id,
            without_messages,
            masker,
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, Enduring(target))),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [StandardLibrary()]
    root.setLevel(max(LEVELS[level], logging.INFO))
    for chatty in ("sqlalchemy", "httpx", "httpcore", "asyncio", "alembic.runtime.plugins"):
        # At INFO these write statements with their parameters, addresses with their queries, and what they are made of.
        logging.getLogger(chatty).setLevel(max(LEVELS[level], logging.WARNING))
