"""Log lines: JSON for machines, columns for a terminal, one request id throughout, nothing secret in any of them."""

import asyncio
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TextIO, cast

import msgspec
import structlog

from security.clock import SECOND, format_rfc3339
from security.masking import LogLine, Masker

REQUEST_ID: ContextVar[str | None] = ContextVar("grantlog_request_id", default=None)
"""The id of the request in hand. The outermost layer sets it, so every line that is written meanwhile carries it."""

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FRAMES = 30
"""Frames of a trace that are kept, the innermost ones."""


def trace(error: BaseException) -> dict[str, Any]:
    """What a log line says of an exception: its types and where it came from. Its messages repeat values: a database
    driver's the parameters of a statement, a decoder's the text it was given."""
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
    for chatty in ("sqlalchemy", "httpx", "httpcore", "asyncio"):
        # At INFO these write statements with their parameters, and addresses with their queries.
        logging.getLogger(chatty).setLevel(max(LEVELS[level], logging.WARNING))


# The access log: one line for each request, written without the general machinery, which costs more than a token.

GATHERED_FOR = 0.01
"""Seconds for which lines are gathered before they are written together."""

_encode = msgspec.json.Encoder().encode


class AccessLog:
    """Writes no query, header, address or name: an erased person leaves nothing in a log file. Lines are gathered for a
    moment and written together: a write for each would hand the interpreter to other threads and back, which costs more
    than the rest of the line. `hot` are the paths that are asked for most."""

    def __init__(self, masker: Masker, hot: Iterable[str] = ()) -> None:
        self._masker = masker
        self._logger: Any = None
        self._write: Callable[[str], None] | None = None
        self._lines: list[str] = []
        self._second = (-1, "")
        # Other paths hold what people and clients wrote there, which is not kept.
        self._ready = {("POST", path): self._tell("POST", path) for path in hot}

    def line(self, request_id: str, method: str, path: str, status: int | None, seconds: float) -> None:
        """One answered request; `status` is None for an answer that was never begun."""
        if self._logger is None:
            self._open()
        told = self._ready.get((method, path)) or self._tell(method, path[:200])
        if self._write is None:
            method, path, _ = told
            ms = round(seconds * 1000, 2)
            self._logger.info("request", request_id=request_id, method=method, path=path, status=status, ms=ms)
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(GATHERED_FOR, self.flush)
        # Names and order of what any other JSON line has too. A request id has no character that JSON would escape.
        now = self._now()
        code = "null" if status is None else status
        self._lines.append(
            f'{{"request_id":"{request_id}",{told[2]},"status":{code},"ms":{seconds * 1000:.2f},'
            f'"event":"request","level":"info","timestamp":"{now}"}}'
        )

    def _tell(self, method: str, path: str) -> tuple[str, str, str]:
        """Method and path as they may be told, and both as members of a JSON object."""
        if not path.isprintable():
            path = "(unprintable)"
        if not (method.isalpha() and len(method) < 20):
            method = "(other)"
        path = self._masker.text(path)
        return method, path, _encode({"method": method, "path": path}).decode()[1:-1]

    def _now(self) -> str:
        """The time as RFC 3339 has it; all of it but the fraction is put together once a second."""
        second, fraction = divmod(time.time_ns() // 1000, SECOND)
        if second != self._second[0]:
            self._second = second, format_rfc3339(second * SECOND)[: -len("000000Z")]
        return f"{self._second[1]}{fraction:06d}Z"

    def flush(self) -> None:
        """Writes what was gathered."""
        lines, self._lines = self._lines, []
        if lines and self._write is not None:
            self._write("\n".join(lines))

    def _open(self) -> None:
        """Binds once, after logging was configured. Only JSON lines, as production writes them, go the short way."""
        self._logger = structlog.get_logger("access").bind()
        settings = structlog.get_config()
        if settings["processors"][-1] is as_json and self._logger.is_enabled_for(20):
            self._write = settings["logger_factory"]().msg
