"""The access log: one line for each request, written without the general machinery, which costs more than a token."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import structlog

from api.log_lines import as_json
from api.masking import Masker
from security.clock import SECOND, format_rfc3339

GATHERED_FOR = 0.01
"""Seconds for which lines are gathered before they are written together."""

_encode = msgspec.json.Encoder().encode


class AccessLog:
    """Writes no query, header, address or name: an erased person leaves nothing in a log file.

    Lines are gathered for a moment and written together. A write of its own for each would hand the interpreter to the
    server's other threads and back, which costs more than all the rest of the line. `hot` are the paths that are asked
    for most.
    """

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
