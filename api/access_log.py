"""The access log: one line for each request, written without the general machinery, which costs more than a token."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from api.log_lines import Masker, as_json
from security.clock import format_rfc3339

_encode = msgspec.json.Encoder().encode


class _Line(msgspec.Struct):
    """Names and order of what any other JSON line has too."""

    request_id: str
    method: str
    path: str
    status: int | None
    ms: float
    event: str
    level: str
    timestamp: str


class AccessLog:
    """Writes no query, header, address or name: an erased person leaves nothing in a log file.

    The lines of one turn of the event loop are written together. A write of its own for each would hand the interpreter
    to the server's other threads and back, which costs more than all the rest of the line.
    """

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._logger: Any = None
        self._write: Callable[[str], None] | None = None
        self._lines: list[str] = []

    def line(self, request_id: str, method: str, path: str, status: int | None, seconds: float) -> None:
        """One answered request; `status` is None for an answer that was never begun."""
        if self._logger is None:
            self._open()
        if not path.isprintable():
            path = "(unprintable)"
        if not (method.isalpha() and len(method) < 20):
            method = "(other)"
        path, ms = self._masker.text(path[:200]), round(seconds * 1000, 2)
        if self._write is None:
            self._logger.info("request", request_id=request_id, method=method, path=path, status=status, ms=ms)
            return
        now = format_rfc3339(time.time_ns() // 1000)
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(_encode(_Line(request_id, method, path, status, ms, "request", "info", now)).decode())

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if self._write is not None:
            self._write("\n".join(lines))

    def _open(self) -> None:
        """Binds once, after logging was configured. Only JSON lines, as production writes them, go the short way."""
        self._logger = structlog.get_logger("access").bind()
        settings = structlog.get_config()
        if settings["processors"][-1] is as_json and self._logger.is_enabled_for(20):
            self._write = settings["logger_factory"]().msg
